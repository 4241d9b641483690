//! The status page: what is stored, hit rates, who uses it, and which requests were slow or failed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use askama::Template;
use store::CellarStat;

use super::Operation;
use super::show::{bytes, count, duration, several, share, times};
use crate::admin::ScrubState;
use crate::metrics::{Kind, Lookups, Tallied};
use crate::observe::Remark;
use crate::{Phase, Rights};

/// The page, in texts. askama escapes all of them.
#[derive(Template)]
#[template(path = "status.html")]
struct Page {
    version: &'static str,
    phase: &'static str,
    uptime: String,
    /// Nothing for those who may not read here.
    sums: Option<Sums>,
    /// Nothing for those who may not see what others do.
    others: Option<Others>,
}

/// What all do together.
struct Sums {
    physical: String,
    budget: Option<String>,
    /// How full the store is, in percent.
    full: u32,
    tiles: Vec<Tile>,
    kinds: Vec<KindRow>,
    scrub: Option<String>,
}

struct Tile {
    name: &'static str,
    value: String,
    note: String,
    is_alarming: bool,
}

struct KindRow {
    kind: &'static str,
    hits: String,
    misses: String,
    incomplete: String,
    rate: String,
    percent: u32,
}

/// What others do.
struct Others {
    clients: Vec<ClientRow>,
    slow: Vec<RequestRow>,
    failed: Vec<RequestRow>,
}

struct ClientRow {
    identity: String,
    tool: String,
    requests: String,
    failures: String,
    rate: String,
    received: String,
    sent: String,
    saved: String,
    seen: String,
}

struct RequestRow {
    ago: String,
    method: &'static str,
    path: String,
    outcome: &'static str,
    message: String,
    took: String,
    moved: String,
    caller: String,
    tool: String,
    invocation: String,
    id: String,
}

/// Returns the page as somebody with those rights may see it.
pub(super) fn page(operation: &Operation, rights: Rights) -> String {
    let metrics = operation.observer().metrics();
    let page = Page {
        version: env!("CARGO_PKG_VERSION"),
        phase: match operation.drain().phase() {
            Phase::Starting => "starting",
            Phase::Serving => "serving",
            Phase::Draining => "draining",
        },
        uptime: duration(metrics.uptime()),
        sums: (rights.read || rights.administer).then(|| sums(operation)),
        others: rights.administer.then(|| others(operation)),
    };
    page.render().expect("a string takes everything")
}

fn sums(operation: &Operation) -> Sums {
    let stat = operation.cellar().stat();
    let total = operation.observer().metrics().clients().total();
    // A store without a budget says so by one that no disk has.
    let budget = (stat.budget_bytes < u64::MAX / 2).then_some(stat.budget_bytes);
    Sums {
        physical: bytes(stat.physical_bytes),
        budget: budget.map(bytes),
        full: percent(ratio(stat.physical_bytes, budget.unwrap_or(0))),
        tiles: tiles(operation, &stat, &total),
        kinds: kinds(&total),
        scrub: scrub(&operation.scrubber().state()),
    }
}

fn tiles(operation: &Operation, stat: &CellarStat, total: &Tallied) -> Vec<Tile> {
    let tile = |name, value: String, note: String| Tile { name, value, note, is_alarming: false };
    let metrics = operation.observer().metrics();
    let smaller = ratio(stat.logical_bytes, stat.physical_bytes).unwrap_or(1.0);
    let stays = stat.retention_seconds.map(Duration::from_secs);
    let (uploads, upload_bytes) = metrics.uploads_in_flight();
    let (saved, clock) = match total.saved_cpu {
        // Most clients say only how long actions ran.
        Duration::ZERO => (total.saved_wall, "that actions had run".to_owned()),
        cpu => (cpu, format!("of processor time, {} by the clock", duration(total.saved_wall))),
    };
    vec![
        tile(
            "Holds",
            bytes(stat.logical_bytes),
            format!("{}, {}", several(stat.blobs, "blob"), several(stat.values, "value")),
        ),
        tile("Made smaller", times(smaller), chunks(stat)),
        tile(
            "Things stay",
            stays.map_or_else(|| "until it is full".to_owned(), duration),
            match stays {
                Some(_) => format!("{} evicted since the start", bytes(stat.evicted_bytes)),
                None => "nothing was evicted yet".to_owned(),
            },
        ),
        tile(
            "Results found",
            total.lookups(Kind::Action).rate().map_or_else(|| "–".to_owned(), share),
            format!("of {}", several(all(total.lookups(Kind::Action)), "lookup")),
        ),
        tile("Saved by them", duration(saved), clock),
        tile(
            "Served",
            bytes(total.sent_bytes),
            format!("{} taken in", bytes(total.received_bytes)),
        ),
        tile(
            "Under way",
            count(metrics.requests_in_flight()),
            format!("requests; {} with {}", several(uploads, "upload"), bytes(upload_bytes)),
        ),
        tile("Leases", count(stat.leases), format!("pin {}", bytes(stat.pinned_bytes))),
        Tile {
            is_alarming: stat.corrupt > 0,
            ..tile("Corrupt", count(stat.corrupt), "records found and taken away".to_owned())
        },
    ]
}

fn chunks(stat: &CellarStat) -> String {
    match ratio(stat.chunked_bytes, stat.chunk_bytes) {
        Some(ratio) => format!("large blobs share chunks: {}", times(ratio)),
        None => "on the disk than uncompressed".to_owned(),
    }
}

fn kinds(total: &Tallied) -> Vec<KindRow> {
    let used = Kind::ALL.into_iter().map(|kind| (kind, total.lookups(kind)));
    let used = used.filter_map(|(kind, it)| it.rate().map(|rate| (kind, it, rate)));
    let row = |(kind, lookups, rate): (Kind, Lookups, f64)| KindRow {
        kind: kind.title(),
        hits: count(lookups.hits),
        misses: count(lookups.misses),
        incomplete: count(lookups.incomplete),
        rate: share(rate),
        percent: percent(Some(rate)),
    };
    used.map(row).collect()
}

fn scrub(state: &ScrubState) -> Option<String> {
    let began = state.began?;
    let ago = ago(began);
    let corrupt = state.scrubbed.corrupt;
    let found = if corrupt == 0 {
        "nothing was wrong".into()
    } else {
        format!("{} were corrupt", count(corrupt))
    };
    let read =
        format!("{} in {} records", bytes(state.scrubbed.bytes), count(state.scrubbed.records));
    Some(match &state.failure {
        _ if state.running => format!("A scrub began {ago}; read so far: {read}; {found}."),
        Some(failure) => {
            format!("The last scrub began {ago} and ended early: {failure}. Read: {read}; {found}.")
        }
        None => format!(
            "The last scrub began {ago} and took {}; read: {read}; {found}.",
            duration(state.took)
        ),
    })
}

fn others(operation: &Operation) -> Others {
    let metrics = operation.observer().metrics();
    let recent = operation.observer().recent();
    let now = metrics.uptime().as_secs();
    let mut clients = metrics.clients().read();
    // Somebody's first request may be under way.
    clients.retain(|(_, _, it)| it.requests > 0);
    clients.sort_by_key(|(_, _, it)| std::cmp::Reverse(it.requests));
    let row = |(tool, identity, it): (String, Arc<str>, Tallied)| ClientRow {
        identity: identity.to_string(),
        tool,
        requests: count(it.requests),
        failures: count(it.failures),
        rate: rate(&it).map_or_else(|| "–".to_owned(), share),
        received: bytes(it.received_bytes),
        sent: bytes(it.sent_bytes),
        saved: duration(it.saved_cpu.max(it.saved_wall)),
        seen: since(Duration::from_secs(now.saturating_sub(it.last_second))),
    };
    Others {
        clients: clients.into_iter().map(row).collect(),
        slow: recent.slow().into_iter().map(request).collect(),
        failed: recent.failed().into_iter().map(request).collect(),
    }
}

fn request(it: Remark) -> RequestRow {
    RequestRow {
        ago: ago(it.at),
        method: it.method,
        path: it.path,
        outcome: it.outcome,
        message: it.message,
        took: duration(it.took),
        moved: bytes(it.received_bytes + it.sent_bytes),
        caller: it.caller,
        tool: it.metadata.tool.clone(),
        invocation: it.metadata.invocation.clone(),
        id: it.id,
    }
}

/// Returns the share of hits in all that a client looked up.
fn rate(tallied: &Tallied) -> Option<f64> {
    let mut sum = Lookups::default();
    for kind in Kind::ALL {
        sum += tallied.lookups(kind);
    }
    sum.rate()
}

fn all(lookups: Lookups) -> u64 {
    lookups.hits + lookups.misses
}

fn ago(at: SystemTime) -> String {
    since(SystemTime::now().duration_since(at).unwrap_or_default())
}

fn since(it: Duration) -> String {
    match it.as_secs() {
        0..2 => "now".to_owned(),
        seconds @ 2..60 => format!("{seconds} s ago"),
        seconds => format!("{} ago", duration(Duration::from_secs(seconds))),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(of: u64, by: u64) -> Option<f64> {
    (by > 0).then(|| of as f64 / by as f64)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is clamped before")]
fn percent(share: Option<f64>) -> u32 {
    (share.unwrap_or(0.0).clamp(0.0, 1.0) * 100.0).round() as u32
}
