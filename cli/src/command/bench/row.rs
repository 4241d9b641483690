//! The rows of the table: what is measured, by name.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use clap::ValueEnum;
use model::DigestFunction;

use super::bare;
use super::channel::Channel;
use super::drive::{Bounds, Measured, Work, drive};
use super::error::CallError;
use super::large::{Download, Upload};
use super::noise::mix;
use super::pool::Pool;
use super::remote::{self, Dialect};
use super::small::{
    ASKED_DIGESTS, BATCH_BLOBS, BatchRead, BatchUpdate, FindMissing, GetResult, Read, UpdateResult,
    Write,
};

/// How large a small blob is, in bytes: half of what a build makes is smaller.
const SMALL_BYTES: u64 = 4096;

/// How large a large blob is, in bytes, and all of them together, where several clients each have one.
const LARGE_BYTES: u64 = 1 << 30;

/// A connection has shown what it can after a part of that: windows are open, buffers are there.
const LARGE_PER_WARM_UP: u64 = 16;

/// How many small blobs there are to be read.
const PRESENT_BLOBS: u64 = 16_000;

/// How many results there are to be asked for.
const PRESENT_RESULTS: u64 = 4000;

/// How many blobs or results a row writes at most: 800 MB.
const WRITTEN_MAX: u64 = 200_000;

/// How many are made ready for each second and client: no server takes more, and hashing them takes time.
const WRITTEN_PER_SECOND_MAX: [(usize, u64); 2] = [(1, 16_000), (usize::MAX, 50_000)];

/// How long a preparation may take.
const PREPARE: Duration = Duration::from_secs(120);

/// How long a large blob may take.
const LARGE: Duration = Duration::from_secs(300);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// A stream up with each call: a blob of 4 KiB
    Write,
    /// A stream down with each call: a blob of 4 KiB
    Read,
    /// A batch up with each call: 100 blobs of 4 KiB
    BatchUpdate,
    /// A batch down with each call: 100 blobs of 4 KiB
    BatchRead,
    /// Which of 1,000 digests are missing: half of them
    FindMissing,
    /// What an action made: four outputs
    GetResult,
    /// What a new action made is told: four outputs
    UpdateResult,
    /// A stream up of 1 GiB, divided among the clients
    LargeUp,
    /// The same down
    LargeDown,
}

/// What all rows of a run have in common.
pub(super) struct Fixture {
    pub(super) function: DigestFunction,
    pub(super) seed: u64,
    pub(super) bounds: Bounds,
    /// What is there to be read.
    present: Rc<Pool>,
}

/// A row with so many clients, and what it sends: made before any clock starts, for every server the same.
pub(super) struct Case<'a> {
    pub(super) row: Row,
    pub(super) clients: usize,
    fixture: &'a Fixture,
    seed: u64,
    pool: Rc<Pool>,
    /// What is sent before.
    warm_up: Rc<Pool>,
}

impl Row {
    pub(super) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Returns what is counted.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Write | Self::Read | Self::BatchUpdate | Self::BatchRead => "blobs",
            Self::FindMissing => "digests",
            Self::GetResult | Self::UpdateResult => "results",
            Self::LargeUp | Self::LargeDown => "bytes",
        }
    }

    pub(super) fn is_large(self) -> bool {
        matches!(self, Self::LargeUp | Self::LargeDown)
    }
}

impl Fixture {
    pub(super) fn new(function: DigestFunction, seed: u64, bounds: Bounds) -> Self {
        let present = Rc::new(Pool::new(function, mix(seed), PRESENT_BLOBS, SMALL_BYTES));
        Self { function, seed, bounds, present }
    }

    /// Makes ready what a row sends. In another round it sends something else.
    pub(super) fn case(&self, row: Row, clients: usize, round: u64) -> Case<'_> {
        // What goes up comes down again.
        let shared = if row.is_large() { Row::LargeUp } else { row };
        let seed = [round, shared as u64, clients as u64]
            .into_iter()
            .fold(self.seed, |seed, it| mix(seed ^ it));
        let new = |blobs, bytes| Rc::new(Pool::new(self.function, mix(seed ^ bytes), blobs, bytes));
        let (mut pool, mut warm_up) = (Rc::clone(&self.present), new(0, 0));
        if row.is_large() {
            let bytes = LARGE_BYTES / clients as u64;
            pool = new(clients as u64, bytes);
            warm_up = new(clients as u64, bytes / LARGE_PER_WARM_UP);
        } else if matches!(row, Row::Write | Row::BatchUpdate) {
            pool = new(self.written(clients).next_multiple_of(BATCH_BLOBS), SMALL_BYTES);
        }
        Case { row, clients, fixture: self, seed, pool, warm_up }
    }

    fn written(&self, clients: usize) -> u64 {
        let seconds = (self.bounds.warm_up + self.bounds.measured).as_secs_f64().ceil();
        let rate = WRITTEN_PER_SECOND_MAX.iter().find(|(most, _)| clients <= *most);
        let rate = rate.map_or(0, |(_, rate)| *rate);
        // Seconds are few: they were parsed from a number with a bound.
        Duration::from_secs_f64(seconds)
            .as_secs()
            .saturating_mul(rate)
            .clamp(BATCH_BLOBS, WRITTEN_MAX)
    }
}

/// Where a case is measured.
pub(super) struct Place<'a> {
    pub(super) dialect: Dialect,
    /// One for each client; several may share a connection.
    pub(super) channels: &'a [Channel],
    pub(super) pid: Option<u32>,
}

impl Case<'_> {
    /// Measures the case on a server.
    pub(super) async fn measure(&self, place: &Place<'_>) -> Result<Measured, io::Error> {
        if let Err(error) = self.prepare(place).await? {
            let failure = Some(format!("cannot be prepared: {error}"));
            return Ok(Measured { failures: 1, failure, ..Measured::default() });
        }
        let Place { dialect, channels, pid } = place;
        let method = |path| channels[0].method(path);
        let (present, seed, pool) = (&self.fixture.present, self.seed, Rc::clone(&self.pool));
        match self.row {
            Row::Write => {
                let (dialect, method) = (dialect.clone(), method(remote::WRITE));
                self.drive(Write { dialect, method, pool }, place).await
            }
            Row::Read => self.drive(Read::new(dialect, method(remote::READ), present), place).await,
            Row::BatchUpdate => {
                let (dialect, method) = (dialect.clone(), method(remote::BATCH_UPDATE));
                self.drive(BatchUpdate { dialect, method, pool }, place).await
            }
            Row::BatchRead => {
                let work = BatchRead::new(dialect, method(remote::BATCH_READ), present);
                self.drive(work, place).await
            }
            Row::FindMissing => {
                let method = method(remote::FIND_MISSING);
                self.drive(FindMissing::new(dialect, method, present, seed), place).await
            }
            Row::GetResult => {
                let method = method(remote::GET_RESULT);
                let work = GetResult::new(dialect, method, present, seed, PRESENT_RESULTS);
                self.drive(work, place).await
            }
            Row::UpdateResult => self.drive(self.results(place, seed, WRITTEN_MAX), place).await,
            Row::LargeUp => {
                self.upload(place, &self.warm_up).await?;
                self.upload(place, &self.pool).await
            }
            Row::LargeDown => {
                let work = |pool| Download::new(dialect, &channels[0], pool);
                drive(work(&self.warm_up), channels, once(), *pid).await?;
                drive(work(&self.pool), channels, self.long(), *pid).await
            }
        }
    }

    /// Measures what the bare connection carries, where a row has something of the kind.
    pub(super) async fn ceiling(
        &self,
        channels: &[Channel],
    ) -> Result<Option<Measured>, io::Error> {
        let (first, large) = (&channels[0], LARGE_BYTES / self.clients as u64);
        let (up, down) = (
            |bytes, units| bare::Up::new(first, bytes, units),
            |bytes, units| bare::Down::new(first, bytes, units),
        );
        let (warm_up, bounds) = (large / LARGE_PER_WARM_UP, self.fixture.bounds);
        let measured = match self.row {
            Row::Write => drive(up(SMALL_BYTES, 1), channels, bounds, None).await?,
            Row::Read => drive(down(SMALL_BYTES, 1), channels, bounds, None).await?,
            Row::LargeUp => {
                drive(up(warm_up, warm_up), channels, once(), None).await?;
                drive(up(large, large), channels, self.long(), None).await?
            }
            Row::LargeDown => {
                drive(down(warm_up, warm_up), channels, once(), None).await?;
                drive(down(large, large), channels, self.long(), None).await?
            }
            Row::BatchUpdate
            | Row::BatchRead
            | Row::FindMissing
            | Row::GetResult
            | Row::UpdateResult => return Ok(None),
        };
        Ok(Some(measured))
    }

    /// Brings what the row asks for; the outer error is of this process.
    async fn prepare(&self, place: &Place<'_>) -> Result<Result<(), CallError>, io::Error> {
        if matches!(self.row, Row::Write | Row::BatchUpdate | Row::LargeUp) {
            return Ok(Ok(()));
        }
        if self.row == Row::LargeDown {
            for pool in [&self.warm_up, &self.pool] {
                if !is_there(place, pool).await.unwrap_or(false) {
                    self.upload(place, pool).await?;
                }
            }
            return Ok(is_there(place, &self.pool).await.map(drop));
        }
        match is_there(place, &self.fixture.present).await {
            Ok(true) => {}
            Ok(false) => {
                let (dialect, pool) = (place.dialect.clone(), Rc::clone(&self.fixture.present));
                let method = place.channels[0].method(remote::BATCH_UPDATE);
                drive(BatchUpdate { dialect, method, pool }, place.channels, within(PREPARE), None)
                    .await?;
            }
            Err(error) => return Ok(Err(error)),
        }
        if self.row == Row::GetResult {
            let work = self.results(place, self.seed, PRESENT_RESULTS);
            drive(work, place.channels, within(PREPARE), None).await?;
        }
        Ok(Ok(()))
    }

    async fn drive(&self, work: impl Work, place: &Place<'_>) -> Result<Measured, io::Error> {
        drive(work, place.channels, self.fixture.bounds, place.pid).await
    }

    async fn upload(&self, place: &Place<'_>, pool: &Rc<Pool>) -> Result<Measured, io::Error> {
        let (dialect, method) = (place.dialect.clone(), place.channels[0].method(remote::WRITE));
        let work = Upload { dialect, method, pool: Rc::clone(pool) };
        drive(work, place.channels, within(LARGE), place.pid).await
    }

    fn results(&self, place: &Place<'_>, seed: u64, results: u64) -> UpdateResult {
        let (dialect, method) =
            (place.dialect.clone(), place.channels[0].method(remote::UPDATE_RESULT));
        UpdateResult { dialect, method, pool: Rc::clone(&self.fixture.present), seed, results }
    }

    /// Returns how long large blobs are read: at least once by each client.
    fn long(&self) -> Bounds {
        within(self.fixture.bounds.measured)
    }
}

/// Returns whether the server has all of these blobs.
async fn is_there(place: &Place<'_>, pool: &Pool) -> Result<bool, CallError> {
    let method = place.channels[0].method(remote::FIND_MISSING);
    for first in (0..pool.len()).step_by(usize::try_from(ASKED_DIGESTS).unwrap_or(usize::MAX)) {
        let digests = pool.digests(first, ASKED_DIGESTS.min(pool.len() - first));
        let request = place.dialect.find_missing(&digests);
        let answer = place.channels[0].unary(&method, request).await?;
        if !remote::missing(&answer)?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns bounds for what ends by itself.
fn within(measured: Duration) -> Bounds {
    Bounds { warm_up: Duration::ZERO, measured }
}

/// Returns bounds that each client meets with its first call.
fn once() -> Bounds {
    within(Duration::ZERO)
}
