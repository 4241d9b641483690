//! What a remote promises: a survey of a build that shares results with it.
//!
//! Which keys there are to ask for is only known once the results are that their inputs come from. So it is surveyed, asked
//! for all at once that would run, and surveyed again with what was found, until nothing more is. Nothing is fetched but
//! results and the listings of directories that have to be looked into.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use model::{ActionDigest, ActionResult, Node as TreeNode, RelativePath, TreeDigest};
use store::{ActionCache as _, DegradingStore, LocalStore, Remote, StoreError, TieredStore};

use super::BuildError;
use super::fate::Survey;
use super::survey::survey_knowing;
use crate::disk::DiskFiles;
use crate::plan::Plan;

/// How many questions are under way at once: as many as a remote's connection takes.
const QUESTIONS_AT_ONCE: usize = 128;

/// What is known besides what is in the store, and what a survey lacked.
#[derive(Default)]
pub(super) struct Promises {
    /// What the remote says that actions made.
    pub(super) results: BTreeMap<ActionDigest, ActionResult>,
    /// What sources held when they were looked at first.
    pub(super) sources: BTreeMap<RelativePath, TreeNode>,
    /// Listings that are not here, and without which something is not known.
    pub(super) lacking: BTreeSet<TreeDigest>,
}

/// Surveys a plan like [`super::survey`], of a build that takes from `remote` what others made. `degraded` is told of the
/// first of its failures; what it does not say is not there.
pub async fn survey_sharing(
    store: &Arc<LocalStore>,
    remote: Arc<dyn Remote>,
    degraded: impl Fn(&StoreError) + Send + Sync + 'static,
    files: &DiskFiles,
    plan: &Plan,
    retry_failed: bool,
) -> Result<Survey, Arc<BuildError>> {
    store.believe(remote.provenance());
    let remote = DegradingStore::new(remote, degraded);
    let tiers = TieredStore::new(Arc::clone(store), Arc::new(remote.clone()));
    let mut promises = Promises::default();
    let (mut keys, mut listings) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let survey = tokio::task::block_in_place(|| {
            survey_knowing(store, files, plan, retry_failed, &mut promises)
        })?;
        let lacking = std::mem::take(&mut promises.lacking);
        let lacking: Vec<_> = lacking.into_iter().filter(|it| listings.insert(*it)).collect();
        let runs = survey.actions.iter().filter(|action| action.fate.runs());
        let open: Vec<_> = runs.filter_map(|it| it.key).filter(|it| keys.insert(*it)).collect();
        let found = look_up(&remote, open).await.map_err(broken)?;
        let has_come = bring(&tiers, lacking).await.map_err(broken)?;
        if found.is_empty() && !has_come {
            return Ok(survey);
        }
        promises.results.extend(found);
        promises.sources = survey.sources;
    }
}

async fn look_up(
    remote: &DegradingStore,
    keys: Vec<ActionDigest>,
) -> Result<BTreeMap<ActionDigest, ActionResult>, StoreError> {
    let look_up = |key| async move {
        let found = remote.lookup(key).await?;
        Ok::<_, StoreError>(found.map(|result| (key, result)))
    };
    let asked = stream::iter(keys).map(look_up).buffer_unordered(QUESTIONS_AT_ONCE);
    let found: Vec<_> = asked.try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Makes listings present that the remote has; returns whether any is.
async fn bring(tiers: &TieredStore, listings: Vec<TreeDigest>) -> Result<bool, StoreError> {
    let bring =
        |tree| async move { Ok::<_, StoreError>(tiers.bring_listing(tree).await?.is_some()) };
    let asked = stream::iter(listings).map(bring).buffer_unordered(QUESTIONS_AT_ONCE);
    let brought: Vec<_> = asked.try_collect().await?;
    Ok(brought.contains(&true))
}

fn broken(error: StoreError) -> Arc<BuildError> {
    Arc::new(error.into())
}
