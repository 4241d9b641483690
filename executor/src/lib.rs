//! The workshop: runs one action, anywhere, and sees only bytes of the store.

mod bare;
mod builtin;
mod cgroup;
mod error;
mod inputs;
mod joined;
mod layout;
mod limits;
mod local;
mod outputs;
mod perturbation;
pub mod sandbox;
mod session;

use async_trait::async_trait;
use model::{Action, ActionResult, Command};
use store::TreeSource;

pub use builtin::{BUILTIN_PROGRAM, builtin_salt};
pub use error::ExecuteError;
pub use joined::joined;
pub use limits::Limits;
pub use local::LocalExecutor;
pub use perturbation::{Perturbation, Variation};
pub use sandbox::{Rung, SANDBOX_SALT};
pub use session::{Session, SessionStreams};

/// One action to run.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The action.
    pub action: &'a Action,
    /// The command that it names.
    pub command: &'a Command,
    /// What it may use. Not part of any key.
    pub limits: Limits,
}

/// How a command ended, beyond its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// By itself.
    Exited,
    /// By a signal that nobody here sent.
    Signalled(i32),
    /// It ran longer than it may.
    TimedOut,
    /// It needed more memory than it may.
    OutOfMemory,
}

impl Fate {
    /// Returns whether the same action would end the same way again, as far as anybody can tell.
    pub fn is_repeatable(self) -> bool {
        match self {
            Self::Exited => true,
            Self::Signalled(_) | Self::TimedOut | Self::OutOfMemory => false,
        }
    }
}

/// What came of running an action. A command that failed is a value, not an error.
#[derive(Clone, Debug)]
pub struct Execution {
    /// What it made; its blobs are in the store.
    pub result: ActionResult,
    /// How it ended.
    pub fate: Fate,
    /// Where it ran.
    pub rung: Rung,
}

/// Somebody who runs actions.
///
/// Dropping the future of [`Executor::execute`] ends the command and all its descendants.
#[async_trait]
pub trait Executor: Send + Sync {
    /// Runs the action and keeps its outputs. Trees that it needs are had from `trees`.
    async fn execute(
        &self,
        job: Job<'_>,
        trees: &dyn TreeSource,
    ) -> Result<Execution, ExecuteError>;
}
