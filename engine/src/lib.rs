//! The study: labels, Starlark, and the graph of actions. Knows no language and no package format.
//!
//! Loading and analysis are pure: they see files only through [`Files`], and what is locked as plain values.
//! Building takes the plain [`Plan`] that they make and runs what nobody ever ran.

mod analyze;
mod build;
mod cell;
mod config;
mod diagnostic;
mod disk;
mod estimate;
mod files;
mod glob;
mod graph;
mod impact;
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
mod origin;
mod packed;
mod plan;
pub mod query;
mod receipt;
mod shard;
mod shelf;
pub mod signature;
mod snapshot;
mod source;
mod targets;
mod timeline;
mod why;

pub use analyze::{LockRequest, LockedMember};
pub use build::{
    ActionFate, Asked, Attempt, Build, BuildError, BuildOptions, Counts, Events, Failure,
    FailureKind, GoalFate, GoalOutcome, GoalStatus, OutputDifference, Prepared, Ran, Report,
    Reproduction, Span, Survey, SurveyedAction, TestOptions, Tested, Transfer, Unprepared, Verdict,
    Verified, survey, survey_sharing,
};
pub use cell::{Cell, CellPattern, ChoiceError, PatternError, ValuePattern};
pub use config::{CONFIG_FILE, Config, ConfigError, Mirror, RemoteConfig};
pub use diagnostic::{Diagnostic, Place, suggest};
pub use disk::{DiskFiles, NOTES_FOLDER, OUTPUT_FOLDER};
pub use estimate::{Estimate, estimate};
pub use files::{FileKind, Files, FilesError};
pub use graph::{Artifact, BuiltinNode, Graph, Node, NodeId, Owner, RunNode, TreeNode};
pub use impact::{Affected, ChangeKind, Impact, Side};
pub use label::{BUILD_FILE, Label, LabelError, Pattern, Targets};
pub use load::Workspace;
pub use names::{NamedFolder, NamedTarget};
pub use origin::Origin;
pub use packed::Packed;
pub use plan::{Goal, Plan, TestResults};
pub use receipt::{Front, Part, Receipt, Settled};
pub use shard::{Shard, ShardRule, shards};
pub use snapshot::{Changes, Snapshot};
pub use targets::TargetInfo;
pub use timeline::{critical_path, lanes};
pub use why::{Change, DIFFERENCES_MAX, Difference, Explanation, Message, explain};
