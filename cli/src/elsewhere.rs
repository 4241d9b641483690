//! What the remote can say to somebody who asks why: messages, and the keys that actions had before.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use model::{ActionDigest, Digest};
use store::{BlobStore as _, RemoteStore};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::CliError;
use crate::settings::Settings;
use crate::sharing::{RemoteArgs, Sharing};
use crate::workspace::OpenWorkspace;

/// How many things are asked in one build or command: an explanation takes a few each, and nobody waits for thousands.
const QUESTIONS_MAX: u32 = 2_000;

/// The largest message that is fetched to explain something, in bytes.
const MESSAGE_BYTES_MAX: u64 = 4 << 20;

/// Somebody who may know more. What he does not say is not known.
pub(crate) struct Elsewhere {
    sharing: Option<Sharing>,
    reached: OnceLock<Option<(RemoteStore, Whereby)>>,
    questions_left: AtomicU32,
}

/// What waits for answers.
enum Whereby {
    /// The runtime of the build, in one of whose threads the question comes up.
    Build(Handle),
    /// One of its own.
    Own(Runtime),
}

impl Elsewhere {
    /// Returns a remote that was reached, in the runtime that this is called in.
    pub(crate) fn reached(store: RemoteStore) -> Self {
        let reached = OnceLock::from(Some((store, Whereby::Build(Handle::current()))));
        Self { sharing: None, reached, questions_left: AtomicU32::new(QUESTIONS_MAX) }
    }

    /// Returns the workspace's remote, which is reached when the first question comes up.
    pub(crate) fn of(settings: &Settings, workspace: &OpenWorkspace) -> Result<Self, CliError> {
        let sharing = Sharing::of(settings, workspace, &RemoteArgs::default())?;
        let questions_left = AtomicU32::new(QUESTIONS_MAX);
        Ok(Self { sharing, reached: OnceLock::new(), questions_left })
    }

    /// Returns a blob that fits into memory easily.
    pub(crate) fn read(&self, digest: Digest) -> Option<Bytes> {
        if digest.size() > MESSAGE_BYTES_MAX {
            return None;
        }
        let read = |store: RemoteStore| async move {
            let found = store.read(digest).await.ok()?;
            Some(found.and_then(|blob| blob.into_bytes().ok()))
        };
        self.ask(read)?
    }

    /// Returns the key that an action had when it last ran anywhere.
    pub(crate) fn latest_key(&self, owner: &str) -> Option<ActionDigest> {
        let owners = [owner.to_owned()];
        let answer = self.ask(|store| async move { store.latest_keys(&owners).await.ok() });
        answer?.remove(owner)
    }

    /// Asks one question. Whoever did not answer once is not asked again.
    fn ask<T, F: Future<Output = Option<T>>>(
        &self,
        question: impl FnOnce(RemoteStore) -> F,
    ) -> Option<T> {
        let take = |left: u32| left.checked_sub(1);
        let order = Ordering::Relaxed;
        self.questions_left.fetch_update(order, order, take).ok()?;
        let (store, whereby) = self.reached.get_or_init(|| self.reach()).as_ref()?;
        let question = question(store.clone());
        let answer = match whereby {
            Whereby::Own(runtime) => runtime.block_on(question),
            Whereby::Build(handle) if Handle::try_current().is_ok() => handle.block_on(question),
            // The build has ended, and its connections with it.
            Whereby::Build(_) => return None,
        };
        if answer.is_none() {
            self.questions_left.store(0, order);
        }
        answer
    }

    fn reach(&self) -> Option<(RemoteStore, Whereby)> {
        let sharing = self.sharing.as_ref()?;
        let runtime = Builder::new_multi_thread().enable_all().build().ok()?;
        let store = runtime.block_on(sharing.try_to_reach()).ok()?;
        Some((store, Whereby::Own(runtime)))
    }
}
