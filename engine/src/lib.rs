//! The study: labels, Starlark, and the graph of actions. Knows no language and no package format.
//!
//! Loading and analysis are pure: they see files only through [`Files`], and what is locked as plain values.
//! Building takes the plain [`Plan`] that they make and runs what nobody ever ran.

mod analyze;
mod build;
mod cell;
mod config;
mod diagnostic;
mod files;
mod glob;
mod graph;
mod label;
#[expect(
    unsafe_code,
    clippy::panic,
    clippy::elidable_lifetime_names,
    clippy::too_many_arguments,
    reason = "what the derives of the starlark crate expand to, and the signatures that it demands"
)]
mod lang;
mod load;
mod names;
mod source;

pub use analyze::{Goal, LockRequest, LockedMember, Plan};
pub use build::{
    Build, BuildError, BuildOptions, Counts, Events, Failure, FailureKind, GoalOutcome, GoalStatus,
    Ran, Report, Span,
};
pub use cell::{Cell, CellPattern, PatternError, ValuePattern};
pub use config::{CONFIG_FILE, Config, ConfigError, Mirror};
pub use diagnostic::{Diagnostic, Place, suggest};
pub use files::{FileKind, Files, FilesError};
pub use graph::{Artifact, BuiltinNode, Graph, Node, NodeId, Owner, RunNode, TreeNode};
pub use label::{BUILD_FILE, Label, LabelError, Pattern, Targets};
pub use load::Workspace;
pub use names::{NamedFolder, NamedTarget};
pub use source::{DiskFiles, OUTPUT_FOLDER};
