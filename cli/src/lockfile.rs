//! `bld.lock` of a workspace: read, checked, made.

use std::fs;
use std::path::Path;

use fetch::{Lock, Locker, Mode, Network, Report};
use model::DigestFunction;

use crate::error::CliError;
use crate::outside::Outside;
use crate::replace::replace;
use crate::terminal::count;
use crate::workspace::OpenWorkspace;

/// Whether something may be downloaded.
pub(crate) fn network(offline: bool) -> Network {
    if offline { Network::Offline } else { Network::Online }
}

/// Returns the workspace's lock, made or completed if it does not meet what the workspace asks for.
pub(crate) fn ensure(
    workspace: &OpenWorkspace,
    outside: &Outside,
    locked: bool,
) -> Result<Lock, CliError> {
    let function = outside.store.function();
    let old = read(workspace)?;
    if let Some(lock) = &old
        && lock.is_current(&outside.requests, function).is_ok()
    {
        return Ok(old.expect("it was just looked at"));
    }
    if outside.requests.is_empty() && old.is_none() {
        return Ok(Lock::new(function));
    }
    if locked {
        check(old.as_ref(), outside, function)?;
    }
    // Builds that start at once in one workspace lock it once.
    let _alone = workspace.alone("locking")?;
    let old = read(workspace)?;
    if let Some(lock) = &old
        && lock.is_current(&outside.requests, function).is_ok()
    {
        return Ok(old.expect("it was just looked at"));
    }
    let (lock, report) = resolve(workspace, outside, old.as_ref(), Mode::Missing)?;
    let changes = report.added.len() + report.upgraded.len();
    outside.display.line(&format!("locked {} in bld.lock", count(changes as u64, "item")));
    Ok(lock)
}

pub(crate) fn check(
    old: Option<&Lock>,
    outside: &Outside,
    function: DigestFunction,
) -> Result<(), CliError> {
    let blank = Lock::new(function);
    let current = old.unwrap_or(&blank).is_current(&outside.requests, function);
    current.map_err(CliError::Locked)
}

pub(crate) fn resolve(
    workspace: &OpenWorkspace,
    outside: &Outside,
    old: Option<&Lock>,
    mode: Mode,
) -> Result<(Lock, Report), CliError> {
    let locker = Locker {
        store: &outside.store,
        sources: &outside.sources,
        progress: &*outside.display,
        unpacker: &outside.unpacker,
        downloader: &outside.downloader,
        cache: outside.cache.clone(),
    };
    let resolved = locker.lock(&outside.requests, old, mode);
    let (lock, report) = resolved.map_err(|error| CliError::Fetch(Box::new(error)))?;
    write(&workspace.lock_path(), &lock.to_string())?;
    // What is planned from here on depends on what was written.
    workspace.lock_text()?;
    Ok((lock, report))
}

pub(crate) fn read(workspace: &OpenWorkspace) -> Result<Option<Lock>, CliError> {
    Ok(workspace.lock_text()?.map(|text| Lock::parse(&text)).transpose()?)
}

/// Writes beside and renames: a lock is never half there.
fn write(path: &Path, text: &str) -> Result<(), CliError> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    replace(path, text)
}
