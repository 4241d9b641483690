//! The trace of a build, in the form that trace viewers of Chrome and Perfetto read.

use engine::{Span, lanes};
use serde_json::{Value, json};

use super::key::Key;
use super::record::{Line, Record, Run};

/// The only process of a trace.
const PROCESS: u32 = 1;

/// The lane of the chain that took longest; the others follow.
const CRITICAL_LANE: usize = 0;

/// Returns what ran, when, beside what, and which chain took longest.
pub(crate) fn trace(record: &Record) -> Value {
    let ran = record.lines.iter().filter_map(|(key, line)| Some((key, line, line.ran.as_ref()?)));
    let mut ran: Vec<(&Key, &Line, &Run)> = ran.collect();
    ran.sort_by(|left, right| left.2.began.total_cmp(&right.2.began));
    let spans: Vec<Span> = ran.iter().map(|(_, _, run)| run.span()).collect();
    let lanes = lanes(&spans);

    let mut events = vec![name("process_name", CRITICAL_LANE, "bld")];
    events.push(name("thread_name", CRITICAL_LANE, "critical path"));
    let used = lanes.iter().max().map_or(0, |last| last + 1);
    events.extend((1..=used).map(|lane| name("thread_name", lane, &format!("lane {lane}"))));
    let mut chain = Vec::new();
    for ((key, line, run), (span, lane)) in ran.iter().zip(spans.iter().zip(lanes)) {
        let mut event = complete(key, line, run);
        (event["tid"], event["cat"]) = (json!(lane + 1), json!("action"));
        events.push(event.clone());
        if run.critical {
            (event["tid"], event["cat"]) = (json!(CRITICAL_LANE), json!("critical"));
            events.push(event);
            chain.push((*span, lane + 1));
        }
    }
    for (number, pair) in chain.windows(2).enumerate() {
        let [(from, from_lane), (to, to_lane)] = *pair else { continue };
        events.push(flow("s", number, microseconds(from.ended), from_lane));
        events.push(flow("f", number, microseconds(to.began), to_lane));
    }
    json!({
        "displayTimeUnit": "ms",
        "otherData": {
            "bld": record.head.bld,
            "build": record.head.build,
            "began": record.head.began,
            "patterns": record.head.patterns,
        },
        "traceEvents": events,
    })
}

fn microseconds(since: std::time::Duration) -> u64 {
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn name(what: &str, lane: usize, name: &str) -> Value {
    json!({ "ph": "M", "pid": PROCESS, "tid": lane, "name": what, "args": { "name": name } })
}

fn complete(key: &Key, line: &Line, run: &Run) -> Value {
    let span = run.span();
    let (began, ended) = (microseconds(span.began), microseconds(span.ended));
    json!({
        "ph": "X",
        "pid": PROCESS,
        "name": key.to_string(),
        "ts": began,
        "dur": ended - began,
        "args": {
            "action": line.action,
            "outcome": line.outcome,
            "cpu_seconds": line.cpu_seconds,
            "reason": run.reason.text,
        },
    })
}

/// One end of an arrow from what ended to what began because of that.
fn flow(phase: &str, number: usize, at: u64, lane: usize) -> Value {
    json!({
        "ph": phase,
        "bp": "e",
        "pid": PROCESS,
        "tid": lane,
        "cat": "critical",
        "name": "needed",
        "id": number,
        "ts": at,
    })
}
