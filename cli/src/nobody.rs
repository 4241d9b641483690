//! An executor that runs nothing: with it, a build is a question to the cache.

use async_trait::async_trait;
use executor::{ExecuteError, Execution, Executor, Fate, Job, Rung};
use model::ActionResult;
use store::TreeSource;

/// Refuses every action; what it refuses is recorded nowhere, as nothing is that ran outside a sandbox.
pub(crate) struct Nobody;

#[async_trait]
impl Executor for Nobody {
    async fn execute(&self, _: Job<'_>, _: &dyn TreeSource) -> Result<Execution, ExecuteError> {
        let result = ActionResult { exit_code: 1, ..ActionResult::default() };
        Ok(Execution { result, fate: Fate::Exited, rung: Rung::Bare })
    }
}

/// Hears nothing: nothing happens.
impl engine::Events for Nobody {
    fn started(&self, _: &engine::Owner) {}

    fn finished(&self, _: &engine::Ran) {}

    fn hit(&self, _: &engine::Ran) {}
}
