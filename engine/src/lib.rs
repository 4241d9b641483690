//! The study: labels, Starlark, and the graph of actions. Knows no language and no package format.
//!
//! Loading and analysis are pure: they see files only through [`Files`], and what is locked as plain values.
//! Building takes the plain [`Plan`] that they make and runs what nobody ever ran.

mod analyze;
mod build;
mod cell;
mod change;
mod config;
mod diagnostic;
mod estimate;
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
pub mod query;
mod shard;
pub mod signature;
mod source;
mod targets;

pub use analyze::{Goal, LockRequest, LockedMember, Plan};
pub use build::{
    ActionFate, Asked, Build, BuildError, BuildOptions, Counts, Events, Failure, FailureKind,
    GoalFate, GoalOutcome, GoalStatus, Ran, Report, Span, Survey, SurveyedAction, survey,
};
pub use cell::{Cell, CellPattern, PatternError, ValuePattern};
pub use change::{Affected, Change, ChangeKind, Side};
pub use config::{CONFIG_FILE, Config, ConfigError, Mirror};
pub use diagnostic::{Diagnostic, Place, suggest};
pub use estimate::{Estimate, estimate};
pub use files::{FileKind, Files, FilesError};
pub use graph::{Artifact, BuiltinNode, Graph, Node, NodeId, Owner, RunNode, TreeNode};
pub use label::{BUILD_FILE, Label, LabelError, Pattern, Targets};
pub use load::Workspace;
pub use shard::{Shard, ShardRule, shards};
pub use source::{DiskFiles, OUTPUT_FOLDER};
pub use targets::TargetInfo;
