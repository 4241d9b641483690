//! What a server says of itself, in lines and in JSON.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cas_server::admin::{ClientStat, ScrubState, Stat};
use cas_server::metrics::{Kind, Lookups, Tallied};
use serde_json::{Map, Value, json};

use crate::size::ByteSize;

/// Returns what the server says, for people.
pub(super) fn lines(remote: &str, stat: &Stat) -> Vec<String> {
    let (store, total) = (&stat.store, stat.total());
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| lines.push(format!("{name:<22} {value}"));
    line("server", format!("{remote} (bld {}, up for {})", stat.version, period(stat.uptime)));
    line("blobs", store.blobs.to_string());
    line("values", store.values.to_string());
    line("logical bytes", ByteSize(store.logical_bytes).to_string());
    let budget = ByteSize(store.budget_bytes);
    line("physical bytes", format!("{} of {budget}", ByteSize(store.physical_bytes)));
    line("de-duplication", times(store.logical_bytes, store.physical_bytes));
    line("  of chunks", times(store.chunked_bytes, store.chunk_bytes));
    line("retention", retention(stat));
    let pinned = ByteSize(store.pinned_bytes);
    line("leases", format!("{}, which pin {pinned}", store.leases));
    line("corrupt", store.corrupt.to_string());
    line(
        "saved",
        format!("{:.1} CPU seconds, {:.1} by the clock", saved(&total).0, saved(&total).1),
    );
    let sent = ByteSize(total.sent_bytes);
    line("served", format!("{sent} in {} requests", total.requests));
    for kind in Kind::ALL {
        let lookups = total.lookups(kind);
        if let Some(rate) = lookups.rate() {
            let Lookups { hits, misses, .. } = lookups;
            let rate = rate * 100.0;
            line(kind.title(), format!("{rate:.1} % found ({hits} hits, {misses} misses)"));
        }
    }
    if stat.scrub.began.is_some() {
        line(if stat.scrub.running { "scrubbing" } else { "last scrub" }, scrubbed(&stat.scrub));
    }
    lines.extend(clients(&stat.clients));
    lines
}

fn retention(stat: &Stat) -> String {
    match stat.store.retention_seconds {
        Some(seconds) => period(Duration::from_secs(seconds)),
        None => "nothing was evicted yet".to_owned(),
    }
}

fn clients(clients: &[ClientStat]) -> Vec<String> {
    let mut clients: Vec<_> = clients.iter().collect();
    clients.sort_by_key(|it| std::cmp::Reverse(it.tallied.requests));
    let row = |it: &ClientStat| {
        let who = if it.identity.is_empty() {
            it.tool.clone()
        } else {
            format!("{} ({})", it.identity, it.tool)
        };
        let rate = all(&it.tallied)
            .rate()
            .map_or_else(|| "–".to_owned(), |it| format!("{:.1} %", it * 100.0));
        let Tallied { requests, failures, received_bytes, sent_bytes, .. } = it.tallied;
        let (received, sent) =
            (ByteSize(received_bytes).to_string(), ByteSize(sent_bytes).to_string());
        format!("{who:<34} {requests:>10} {failures:>8} {rate:>8} {received:>11} {sent:>11}")
    };
    let head = format!(
        "{:<34} {:>10} {:>8} {:>8} {:>11} {:>11}",
        "who", "requests", "failed", "found", "in", "out"
    );
    let rows: Vec<_> = clients.into_iter().map(row).collect();
    if rows.is_empty() { rows } else { [String::new(), head].into_iter().chain(rows).collect() }
}

/// Returns what a scrub has come to.
pub(super) fn scrubbed(state: &ScrubState) -> String {
    let it = state.scrubbed;
    let failure = state.failure.as_ref().map(|it| format!("; it ended early: {it}"));
    format!(
        "{} in {} records in {}; {} corrupt{}",
        ByteSize(it.bytes),
        it.records,
        period(state.took),
        it.corrupt,
        failure.unwrap_or_default()
    )
}

/// Returns what the server says, for programs.
pub(super) fn json(remote: &str, stat: &Stat) -> Value {
    let (store, total) = (&stat.store, stat.total());
    let (cpu, wall) = saved(&total);
    json!({
        "server": remote,
        "version": stat.version,
        "uptime_seconds": stat.uptime.as_secs(),
        "blobs": store.blobs,
        "values": store.values,
        "logical_bytes": store.logical_bytes,
        "physical_bytes": store.physical_bytes,
        "budget_bytes": store.budget_bytes,
        "deduplication_ratio": ratio(store.logical_bytes, store.physical_bytes),
        "chunked_bytes": store.chunked_bytes,
        "chunk_bytes": store.chunk_bytes,
        "chunk_deduplication_ratio": ratio(store.chunked_bytes, store.chunk_bytes),
        "retention_seconds": store.retention_seconds,
        "evicted_bytes": store.evicted_bytes,
        "leases": store.leases,
        "pinned_bytes": store.pinned_bytes,
        "corrupt": store.corrupt,
        "requests": total.requests,
        "failures": total.failures,
        "received_bytes": total.received_bytes,
        "sent_bytes": total.sent_bytes,
        "cpu_seconds_saved": cpu,
        "wall_seconds_saved": wall,
        "lookups": lookups(&total),
        "clients": stat.clients.iter().map(client).collect::<Vec<_>>(),
        "scrub": stat.scrub.began.map(|_| scrub_json(&stat.scrub)),
    })
}

fn client(client: &ClientStat) -> Value {
    let it = &client.tallied;
    let (cpu, wall) = saved(it);
    json!({
        "identity": Some(&client.identity).filter(|it| !it.is_empty()),
        "tool": client.tool,
        "requests": it.requests,
        "failures": it.failures,
        "received_bytes": it.received_bytes,
        "sent_bytes": it.sent_bytes,
        "cpu_seconds_saved": cpu,
        "wall_seconds_saved": wall,
        "lookups": lookups(it),
        "last_seen": seconds(client.last_seen),
    })
}

/// Returns how a scrub goes or went, for programs.
pub(super) fn scrub_json(state: &ScrubState) -> Value {
    json!({
        "running": state.running,
        "began": state.began.map(seconds),
        "seconds": state.took.as_secs_f64(),
        "records": state.scrubbed.records,
        "bytes": state.scrubbed.bytes,
        "corrupt": state.scrubbed.corrupt,
        "failure": state.failure,
    })
}

fn lookups(tallied: &Tallied) -> Value {
    let used = Kind::ALL.into_iter().filter(|kind| tallied.lookups(*kind).rate().is_some());
    let row = |kind: Kind| {
        let Lookups { hits, misses, incomplete } = tallied.lookups(kind);
        let row = json!({ "hits": hits, "misses": misses, "incomplete": incomplete });
        (kind.as_str().to_owned(), row)
    };
    Value::Object(used.map(row).collect::<Map<_, _>>())
}

fn all(tallied: &Tallied) -> Lookups {
    let mut all = Lookups::default();
    for kind in Kind::ALL {
        all += tallied.lookups(kind);
    }
    all
}

fn saved(tallied: &Tallied) -> (f64, f64) {
    (tallied.saved_cpu.as_secs_f64(), tallied.saved_wall.as_secs_f64())
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(of: u64, by: u64) -> Option<f64> {
    (by > 0).then(|| of as f64 / by as f64)
}

fn times(of: u64, by: u64) -> String {
    match ratio(of, by) {
        None => "–".to_owned(),
        // Enough to see that it is not nothing: a store that is nearly empty has set more aside than it holds.
        Some(it) if it < 1.0 => format!("{it:.2}×"),
        Some(it) => format!("{it:.1}×"),
    }
}

/// Returns how long something is, in its two largest units.
fn period(it: Duration) -> String {
    let seconds = it.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", it.as_secs_f64()),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use store::{CellarStat, Scrubbed};

    use super::*;

    fn stat() -> Stat {
        let mut tallied = Tallied {
            requests: 1200,
            failures: 3,
            received_bytes: 5 << 20,
            sent_bytes: 7 << 30,
            saved_cpu: Duration::from_secs(3600),
            saved_wall: Duration::from_millis(1_800_500),
            ..Tallied::default()
        };
        tallied.lookups[Kind::Action as usize] = Lookups { hits: 90, misses: 10, incomplete: 1 };
        let last_seen = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let identity = "ci".to_owned();
        let client = ClientStat { tool: "bazel".to_owned(), identity, tallied, last_seen };
        let scrubbed = Scrubbed { records: 12, bytes: 1 << 20, corrupt: 0 };
        let took = Duration::from_secs(61);
        Stat {
            version: "0.1.0".to_owned(),
            uptime: Duration::from_secs(90_000),
            store: CellarStat {
                blobs: 10,
                values: 5,
                logical_bytes: 40 << 20,
                physical_bytes: 10 << 20,
                chunked_bytes: 30 << 20,
                chunk_bytes: 20 << 20,
                budget_bytes: 100 << 30,
                leases: 2,
                pinned_bytes: 1 << 20,
                retention_seconds: Some(7200),
                ..CellarStat::default()
            },
            clients: vec![client],
            scrub: ScrubState { began: Some(last_seen), took, scrubbed, ..ScrubState::default() },
        }
    }

    #[test]
    fn people_read_lines() {
        expect![[r"
            server                 grpc://cache:8980 (bld 0.1.0, up for 1 d 1 h)
            blobs                  10
            values                 5
            logical bytes          40.0 MiB
            physical bytes         10.0 MiB of 100.0 GiB
            de-duplication         4.0×
              of chunks            1.5×
            retention              2 h 0 min
            leases                 2, which pin 1.0 MiB
            corrupt                0
            saved                  3600.0 CPU seconds, 1800.5 by the clock
            served                 7.0 GiB in 1200 requests
            Results of actions     90.0 % found (90 hits, 10 misses)
            last scrub             1.0 MiB in 12 records in 1 min 1 s; 0 corrupt

            who                                  requests   failed    found          in         out
            ci (bazel)                               1200        3   90.0 %     5.0 MiB     7.0 GiB"]].assert_eq(&lines("grpc://cache:8980", &stat()).join("\n"));
    }

    #[test]
    fn programs_read_json() {
        expect![[r#"
            {
              "blobs": 10,
              "budget_bytes": 107374182400,
              "chunk_bytes": 20971520,
              "chunk_deduplication_ratio": 1.5,
              "chunked_bytes": 31457280,
              "clients": [
                {
                  "cpu_seconds_saved": 3600.0,
                  "failures": 3,
                  "identity": "ci",
                  "last_seen": 1700000000,
                  "lookups": {
                    "ac": {
                      "hits": 90,
                      "incomplete": 1,
                      "misses": 10
                    }
                  },
                  "received_bytes": 5242880,
                  "requests": 1200,
                  "sent_bytes": 7516192768,
                  "tool": "bazel",
                  "wall_seconds_saved": 1800.5
                }
              ],
              "corrupt": 0,
              "cpu_seconds_saved": 3600.0,
              "deduplication_ratio": 4.0,
              "evicted_bytes": 0,
              "failures": 3,
              "leases": 2,
              "logical_bytes": 41943040,
              "lookups": {
                "ac": {
                  "hits": 90,
                  "incomplete": 1,
                  "misses": 10
                }
              },
              "physical_bytes": 10485760,
              "pinned_bytes": 1048576,
              "received_bytes": 5242880,
              "requests": 1200,
              "retention_seconds": 7200,
              "scrub": {
                "began": 1700000000,
                "bytes": 1048576,
                "corrupt": 0,
                "failure": null,
                "records": 12,
                "running": false,
                "seconds": 61.0
              },
              "sent_bytes": 7516192768,
              "server": "grpc://cache:8980",
              "uptime_seconds": 90000,
              "values": 5,
              "version": "0.1.0",
              "wall_seconds_saved": 1800.5
            }"#]]
        .assert_eq(&format!("{:#}", json("grpc://cache:8980", &stat())));
    }
}
