//! Running an action once: what a build, a test and a verification have in common.

use executor::{Executor, Fate, Job, Rung};
use model::ActionResult;

use super::action::{Keyed, failure_of};
use super::{Build, BuildError, FailureKind, Span, Stop, broken};
use crate::graph::Owner;

/// What one run of an action left, before it is counted or recorded.
pub(super) struct Attempted {
    pub(super) span: Span,
    pub(super) result: ActionResult,
    /// Where it ran, and how that ended; `None` if what it left cannot be kept.
    pub(super) ended: Option<(Rung, Fate)>,
    pub(super) failure: Option<FailureKind>,
}

impl Attempted {
    /// Returns whether it ran where nothing of the machine could get in, and what it left can be kept.
    pub(super) fn is_isolated(&self) -> bool {
        self.ended.is_some_and(|(rung, _)| rung != Rung::Bare)
    }

    /// Returns whether it would end like this again.
    pub(super) fn is_repeatable(&self) -> bool {
        self.is_isolated() && self.ended.is_some_and(|(_, fate)| fate.is_repeatable())
    }
}

impl Build {
    /// Runs an action once. That it fails is a value; that the machine does is not.
    pub(super) async fn attempt(
        &self,
        executor: &dyn Executor,
        owner: &Owner,
        keyed: &Keyed,
    ) -> Result<Attempted, Stop> {
        self.events.started(owner);
        let began = self.elapsed();
        let job =
            Job { action: &keyed.action, command: &keyed.command, limits: self.options.limits };
        let executed = executor.execute(job, self).await;
        let span = Span { began, ended: self.elapsed() };
        match executed {
            Ok(execution) => {
                let failure = failure_of(&keyed.command, &execution.result, execution.fate);
                let ended = Some((execution.rung, execution.fate));
                Ok(Attempted { span, result: execution.result, ended, failure })
            }
            Err(error) if error.is_action_fault() => {
                let result = ActionResult { exit_code: 1, ..ActionResult::default() };
                let failure = Some(FailureKind::BadOutput(error.to_string()));
                Ok(Attempted { span, result, ended: None, failure })
            }
            Err(source) => {
                self.events.abandoned(owner);
                let owner = owner.to_string();
                Err(broken(BuildError::Execute { owner, source }))
            }
        }
    }
}
