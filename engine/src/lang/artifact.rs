//! Artifacts as Starlark sees them: opaque, to be placed and passed on.

use allocative::Allocative;
use starlark::values::{
    NoSerialize, ProvidesStaticType, StarlarkPagablePanic, StarlarkValue, starlark_value,
};

use super::plain_value;
pub(crate) use crate::graph::Artifact;

#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative, StarlarkPagablePanic)]
pub(crate) struct ArtifactValue(#[allocative(skip)] pub(crate) Artifact);

plain_value!(ArtifactValue, "artifact", |self, f| write!(f, "<artifact {}>", self.0.node));

#[starlark_value(type = "artifact")]
impl<'v> StarlarkValue<'v> for ArtifactValue {}
