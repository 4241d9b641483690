//! Walks a tree and sends its directories.

use std::collections::{BTreeSet, VecDeque};

use futures::StreamExt;
use futures::stream::BoxStream;
use model::{Digest, PathSegment};
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::consume_budget;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use wire::elements::Shape;
use wire::proto::reapi::{Directory, GetTreeResponse};
use wire::references;

use super::PageToken;
use crate::fault;
use crate::front::View;
use crate::limits::{DIRECTORIES_MAX, DIRECTORY_BYTES_MAX, PIECES_MAX};
use crate::load::decoded_bytes;

/// How many bytes of directories a page has before it is sent: with one more directory it still fits into 4 MiB.
const PAGE_BYTES: usize = (3 << 20) / 4;

/// How many directories a page has at most.
const PAGE_DIRECTORIES_MAX: usize = 10_000;

/// Returns the pages of a tree from `token` on, each of at most `count` directories if that is not 0.
///
/// Each distinct directory comes once. Children that are not here are left out, as the API says.
pub(crate) fn pages(
    view: View,
    root: Digest,
    count: usize,
    token: PageToken,
) -> BoxStream<'static, Result<GetTreeResponse, Status>> {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let count = if count == 0 { PAGE_DIRECTORIES_MAX } else { count.min(PAGE_DIRECTORIES_MAX) };
    let (pending, seen) = (VecDeque::from([(root, 0)]), BTreeSet::from([root]));
    let walk = Walk { view, pending, seen, page: Page::default() };
    tokio::spawn(async move {
        if let Err(status) = walk.send(&sender, count, token).await {
            // Whoever no longer listens does not miss it.
            drop(sender.send(Err(status)).await);
        }
    });
    ReceiverStream::new(receiver).map(|it| it.map(|page: Page| page.response)).boxed()
}

/// A page, which counts as held until it is sent.
#[derive(Default)]
struct Page {
    response: GetTreeResponse,
    /// How many bytes of directories it has.
    bytes: usize,
    memory: Option<OwnedSemaphorePermit>,
}

/// A directory, and what it takes in memory.
struct Decoded {
    directory: Directory,
    memory: OwnedSemaphorePermit,
}

impl Page {
    fn add(&mut self, bytes: u64, Decoded { directory, memory }: Decoded) {
        self.bytes += usize::try_from(bytes).expect("directories are small");
        self.response.directories.push(directory);
        match &mut self.memory {
            Some(held) => held.merge(memory),
            None => self.memory = Some(memory),
        }
    }
}

struct Walk {
    view: View,
    /// What is to be sent, and how deep it lies.
    pending: VecDeque<(Digest, u64)>,
    seen: BTreeSet<Digest>,
    page: Page,
}

impl Walk {
    async fn send(
        mut self,
        sender: &mpsc::Sender<Result<Page, Status>>,
        count: usize,
        token: PageToken,
    ) -> Result<(), Status> {
        let mut passed = 0;
        while let Some((digest, depth)) = self.pending.pop_front() {
            // A walk that sends nothing for long, on its way to a page, ends with its client, too.
            if sender.is_closed() {
                return Ok(());
            }
            consume_budget().await;
            let Some(decoded) = self.read(digest).await? else { continue };
            self.enter(digest, depth, &decoded.directory)?;
            passed += 1;
            if passed <= token.0 {
                continue;
            }
            // A page is only sent when it is known that another follows.
            let page = &mut self.page;
            if page.response.directories.len() >= count || page.bytes >= PAGE_BYTES {
                page.response.next_page_token = PageToken(passed - 1).to_string();
                if sender.send(Ok(std::mem::take(page))).await.is_err() {
                    return Ok(());
                }
            }
            page.add(digest.size(), decoded);
        }
        // The last page has no token; an empty tree still has one directory.
        drop(sender.send(Ok(self.page)).await);
        Ok(())
    }

    async fn read(&self, digest: Digest) -> Result<Option<Decoded>, Status> {
        if digest.size() > DIRECTORY_BYTES_MAX {
            let why = format!("the directory {digest} is larger than {DIRECTORY_BYTES_MAX} bytes");
            return Err(Status::failed_precondition(why));
        }
        let blob = self.view.cellar.read(digest).await.map_err(fault::of_store)?;
        let bytes = blob.and_then(|it| it.into_bytes().ok());
        let Some(bytes) = bytes else { return Ok(None) };
        let width_max = self.view.limits.directory_width;
        if references::names(&bytes) > width_max {
            return Err(not_a_directory(digest, &format!("it has more than {width_max} names")));
        }
        let no_message = || not_a_directory(digest, "it is no such message");
        let decoded_bytes = decoded_bytes(Shape::of_directory(), &bytes);
        let memory = self.view.memory.take(decoded_bytes.map_err(|_malformed| no_message())?)?;
        let directory = Directory::decode(bytes).map_err(|_error| no_message())?;
        Ok(Some(Decoded { directory, memory }))
    }

    /// Notes the children, if the directory is one that somebody could unpack.
    fn enter(&mut self, digest: Digest, depth: u64, directory: &Directory) -> Result<(), Status> {
        let files = directory.files.iter().map(|it| &it.name);
        let links = directory.symlinks.iter().map(|it| &it.name);
        let children = directory.directories.iter().map(|it| &it.name);
        let mut names = BTreeSet::new();
        for name in files.chain(links).chain(children) {
            PathSegment::new(name.clone())
                .map_err(|error| not_a_directory(digest, &error.to_string()))?;
            if !names.insert(name) {
                return Err(not_a_directory(digest, &format!("`{name}` is there twice")));
            }
        }
        for child in &directory.directories {
            let function = digest.function();
            let child = child.digest.clone().unwrap_or_default();
            let size = u64::try_from(child.size_bytes).unwrap_or(u64::MAX);
            let child = Digest::from_hex(function, &child.hash, size)
                .map_err(|error| not_a_directory(digest, &error.to_string()))?;
            if self.seen.insert(child) {
                self.pending.push_back((child, depth + 1));
            }
        }
        let limits = &self.view.limits;
        if depth >= limits.directory_depth && !directory.directories.is_empty() {
            let why = format!("the tree is deeper than {}", limits.directory_depth);
            return Err(Status::failed_precondition(why));
        }
        if self.seen.len() > DIRECTORIES_MAX {
            let why = format!("the tree has more than {DIRECTORIES_MAX} directories");
            return Err(Status::failed_precondition(why));
        }
        Ok(())
    }
}

fn not_a_directory(digest: Digest, why: &str) -> Status {
    Status::failed_precondition(format!("the blob {digest} is no directory: {why}"))
}
