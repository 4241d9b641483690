//! What is counted, as Prometheus reads it (`OpenMetrics` text).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use store::Cellar;

use super::{Kind, Limit, Method, Metrics, Outcome, process_stat};
use crate::drain::{Drain, Phase};

/// What the text is, for whoever asked for it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All that is counted, of the server, its store and its process.
#[derive(Debug)]
pub struct Exposition(Registry);

impl Exposition {
    /// Returns what can be read at any time from now on.
    pub fn new(metrics: Arc<Metrics>, cellar: Arc<dyn Cellar>, drain: Drain) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Sources { metrics, cellar, drain }));
        Self(registry)
    }

    /// Returns the text as of now.
    pub fn text(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.0).expect("a string takes everything");
        text
    }
}

/// Where the numbers come from.
struct Sources {
    metrics: Arc<Metrics>,
    cellar: Arc<dyn Cellar>,
    drain: Drain,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("metrics", &self.metrics).finish_non_exhaustive()
    }
}

impl Collector for Sources {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Out(encoder);
        self.server(&mut out)?;
        self.requests(&mut out)?;
        self.lookups(&mut out)?;
        self.uploads(&mut out)?;
        self.store(&mut out)?;
        process(&mut out)
    }
}

type Labels<'a, const N: usize> = [(&'a str, &'a str); N];

/// Writes families of metrics.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn counter<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'l, N>, f64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            encode(&mut metric, labels, |it| {
                it.encode_counter::<NoLabelSet, _, f64>(&value, None)
            })?;
        }
        Ok(())
    }

    fn gauge<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'l, N>, f64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            encode(&mut metric, labels, |it| it.encode_gauge(&value))?;
        }
        Ok(())
    }
}

fn encode<const N: usize>(
    metric: &mut MetricEncoder<'_>,
    labels: Labels<'_, N>,
    value: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if N == 0 { value(metric) } else { value(&mut metric.encode_family(&labels)?) }
}

/// Returns a count as metrics have it.
#[expect(clippy::cast_precision_loss, reason = "whoever reads them counts in this type")]
fn number(count: u64) -> f64 {
    count as f64
}

fn loaded(counter: &AtomicU64) -> f64 {
    number(counter.load(Ordering::Relaxed))
}

impl Sources {
    fn server(&self, out: &mut Out<'_>) -> fmt::Result {
        let labels = [("version", env!("CARGO_PKG_VERSION"))];
        let mut info = out.0.encode_descriptor("bld", "What runs.", None, MetricType::Info)?;
        info.encode_info(&labels)?;
        let is_ready = f64::from(u8::from(self.drain.phase() == Phase::Serving));
        out.gauge("bld_ready", "1 while requests are taken.", [([], is_ready)])
    }

    fn requests(&self, out: &mut Out<'_>) -> fmt::Result {
        let clients = self.metrics.clients.by_tool();
        let mut rows = Vec::new();
        for (tool, tallies) in &clients {
            for method in Method::all() {
                for outcome in Outcome::all() {
                    let count = tallies.iter().map(|it| it.requests(method, outcome)).sum::<u64>();
                    let (method, outcome) = (method.as_str(), outcome.as_str());
                    let labels =
                        [("method", method), ("outcome", outcome), ("client", tool.as_str())];
                    rows.extend((count > 0).then(|| (labels, number(count))));
                }
            }
        }
        out.counter("bld_requests", "Requests that were answered.", rows)?;
        let in_flight = number(self.metrics.requests_in_flight());
        out.gauge("bld_requests_in_flight", "Requests under way.", [([], in_flight)])?;
        self.durations(out)?;
        let bytes = clients.iter().flat_map(|(tool, tallies)| {
            let total = |of: fn(&super::Tallied) -> u64| {
                tallies.iter().map(|it| of(&it.read())).sum::<u64>()
            };
            let row = |direction, bytes| {
                ([("direction", direction), ("client", tool.as_str())], number(bytes))
            };
            [row("in", total(|it| it.received_bytes)), row("out", total(|it| it.sent_bytes))]
        });
        let help = "Bytes of requests and answers, as they are on the wire within their protocol.";
        out.counter("bld_transferred_bytes", help, bytes)
    }

    fn durations(&self, out: &mut Out<'_>) -> fmt::Result {
        let help = "How long requests took, from their first byte to the last of the answer.";
        let (unit, kind) = (Unit::Seconds, MetricType::Histogram);
        let mut metric = out.0.encode_descriptor("bld_request", help, Some(&unit), kind)?;
        for method in Method::all() {
            let it = self.metrics.durations[method.index()].read();
            if it.count > 0 {
                let labels = [("method", method.as_str())];
                metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                    it.sum_seconds,
                    it.count,
                    &it.buckets,
                    None,
                )?;
            }
        }
        Ok(())
    }

    fn lookups(&self, out: &mut Out<'_>) -> fmt::Result {
        let clients = self.metrics.clients.by_tool();
        let mut rows = Vec::new();
        for (tool, tallies) in &clients {
            for kind in Kind::ALL {
                let mut sum = super::Lookups::default();
                for tally in tallies {
                    sum += tally.read().lookups(kind);
                }
                let complete = sum.misses - sum.incomplete.min(sum.misses);
                let results =
                    [("hit", sum.hits), ("miss", complete), ("incomplete", sum.incomplete)];
                for (result, count) in results {
                    let labels =
                        [("kind", kind.as_str()), ("result", result), ("client", tool.as_str())];
                    rows.extend((count > 0).then(|| (labels, number(count))));
                }
            }
        }
        let help = "What was looked up; incomplete: a result was there, and something that it names was not.";
        out.counter("bld_lookups", help, rows)?;
        let Metrics { found, missing, .. } = &*self.metrics;
        let rows =
            [([("result", "found")], loaded(found)), ([("result", "missing")], loaded(missing))];
        out.counter(
            "bld_find_missing_digests",
            "Digests that FindMissingBlobs was asked for.",
            rows,
        )?;
        let total = self.metrics.clients.total();
        let rows = [
            ([("clock", "cpu")], total.saved_cpu.as_secs_f64()),
            ([("clock", "wall")], total.saved_wall.as_secs_f64()),
        ];
        out.counter(
            "bld_saved_seconds",
            "What the actions had taken whose results were hits.",
            rows,
        )
    }

    fn uploads(&self, out: &mut Out<'_>) -> fmt::Result {
        let (uploads, bytes) = self.metrics.uploads_in_flight();
        out.gauge("bld_uploads_in_flight", "Uploads under way.", [([], number(uploads))])?;
        let help = "Bytes that uploads under way have sent.";
        out.gauge("bld_upload_in_flight_bytes", help, [([], number(bytes))])?;
        let rows = Limit::ALL
            .map(|limit| ([("limit", limit.as_str())], number(self.metrics.limits_hit(limit))));
        out.counter("bld_limits_hit", "What was refused because of a limit.", rows)
    }

    fn store(&self, out: &mut Out<'_>) -> fmt::Result {
        let stat = self.cellar.stat();
        let state = |name, count| ([("state", name)], number(count));
        let bytes = [
            state("logical", stat.logical_bytes),
            state("physical", stat.physical_bytes),
            state("pinned", stat.pinned_bytes),
            state("budget", stat.budget_bytes),
            state("chunked", stat.chunked_bytes),
            state("chunks", stat.chunk_bytes),
        ];
        let help = "What the store holds: uncompressed, on the disk, pinned by builds, at most; \
                    blobs that consist of chunks, and those chunks.";
        out.gauge("bld_store_bytes", help, bytes)?;
        let kinds =
            [([("kind", "blob")], number(stat.blobs)), ([("kind", "value")], number(stat.values))];
        out.gauge("bld_store_records", "How many blobs and values the store holds.", kinds)?;
        let help = "How old what was evicted last was when it went: how long things stay.";
        let retention = stat.retention_seconds.map(|it| ([], number(it)));
        out.gauge("bld_store_retention_seconds", help, retention)?;
        out.gauge("bld_leases", "Builds that hold leases.", [([], number(stat.leases))])?;
        let evicted = [([], number(stat.evicted_bytes))];
        out.counter("bld_store_evicted_bytes", "Bytes that were evicted.", evicted)?;
        let help = "Records that were not what they should be, and were taken away.";
        out.counter("bld_store_corrupt", help, [([], number(stat.corrupt))])
    }
}

/// Writes what every process says, by the names that everybody uses.
fn process(out: &mut Out<'_>) -> fmt::Result {
    let stat = process_stat();
    let help = "User and system time of the server.";
    out.counter("process_cpu_seconds", help, [([], stat.cpu.as_secs_f64())])?;
    let resident = [([], number(stat.resident_bytes))];
    out.gauge("process_resident_memory_bytes", "Memory of the server.", resident)?;
    out.gauge("process_open_fds", "Open files of the server.", [([], number(stat.open_files))])
}
