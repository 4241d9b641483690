//! How much the store holds, without looking: what the last survey found, and what was added since.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::FlockOperation;

use super::LocalStore;
use super::lock::lock_file;
use crate::error::StoreError;

/// How long a survey is believed: what processes added that were killed is in none of the sums.
const SURVEY_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the file ended when a survey began: what is added after that is not in the survey.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(usize);

impl LocalStore {
    /// Returns whether the store may hold more than `budget` bytes by now, as far as can be told without a survey.
    pub fn may_exceed(&self, budget: u64) -> Result<bool, StoreError> {
        let path = self.usage_path();
        let text = read(&mut self.open_usage()?).map_err(StoreError::disk("read", &path))?;
        Ok(sum(&text).is_none_or(|bytes| bytes.saturating_add(self.bytes_written()) > budget))
    }

    /// Adds what this process wrote.
    pub(super) fn add_usage(&self) -> Result<(), StoreError> {
        let mut file = self.open_usage()?;
        let written = file.seek(std::io::SeekFrom::End(0));
        let written = written.and_then(|_| writeln!(file, "{}", self.bytes_written()));
        written.map_err(StoreError::disk("write", &self.usage_path()))
    }

    pub(super) fn mark_usage(&self) -> Result<Mark, StoreError> {
        let text = read(&mut self.open_usage()?);
        Ok(Mark(text.map_err(StoreError::disk("read", &self.usage_path()))?.len()))
    }

    /// Notes what a survey found that began at `mark`.
    pub(super) fn set_usage(&self, mark: Mark, bytes: u64) -> Result<(), StoreError> {
        let mut file = self.open_usage()?;
        let write = |file: &mut File| {
            let text = read(file)?;
            let since = text.get(mark.0..).unwrap_or_default();
            file.set_len(0)?;
            file.rewind()?;
            write!(file, "{} {bytes}\n{since}", now())
        };
        write(&mut file).map_err(StoreError::disk("write", &self.usage_path()))
    }

    /// Opens the file for one process at a time.
    fn open_usage(&self) -> Result<File, StoreError> {
        let path = self.usage_path();
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(StoreError::disk("open", &path))?;
        lock_file(&file, FlockOperation::LockExclusive, &path)?;
        Ok(file)
    }

    fn usage_path(&self) -> PathBuf {
        self.root.join("usage")
    }
}

fn read(file: &mut File) -> std::io::Result<String> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Returns the sum of a survey and of what was added since, or `None` if that does not say what the store holds.
fn sum(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let (surveyed, bytes) = lines.next()?.split_once(' ')?;
    let age = now().checked_sub(surveyed.parse().ok()?)?;
    if age > SURVEY_AGE_MAX.as_secs() {
        return None;
    }
    let added: Option<u64> = lines.map(|line| line.parse::<u64>().ok()).sum();
    bytes.parse::<u64>().ok()?.checked_add(added?)
}

/// In seconds since the epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_counts_and_what_is_old_or_torn_does_not() {
        let now = now();
        assert_eq!(sum(&format!("{now} 100\n20\n3\n")), Some(123));
        assert_eq!(sum(&format!("{} 100\n", now - 90_000)), None);
        assert_eq!(sum(&format!("{} 100\n", now + 1_000)), None);
        for torn in ["", "100", "x 1\n", "1 x\n"] {
            assert_eq!(sum(torn), None, "{torn:?}");
        }
        assert_eq!(sum(&format!("{now} 100\n2\n\n")), None);
    }
}
