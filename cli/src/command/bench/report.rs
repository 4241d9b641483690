//! What was measured, as a table and as JSON.

use std::time::Duration;

use model::DigestFunction;
use serde_json::{Value, json};

use super::drive::Measured;
use super::row::Row;
use crate::settings::Settings;
use crate::size::ByteSize;
use crate::terminal::{count, say, say_json};

/// What stands above the columns: how much processor time the server needed for a blob, digest or result, or for a MiB; how
/// much of one processor the clients took; and how much more the first server did than this one.
const HEADING: &str = "row           many  server                      rate half within 99 % within server CPU     memory \
                       client  ratio";

/// What was measured of one server, once.
pub(super) struct Sample {
    pub(super) row: Row,
    pub(super) clients: u16,
    /// Which of the servers.
    pub(super) server: usize,
    pub(super) measured: Measured,
}

/// All that was measured.
pub(super) struct Report {
    /// What the servers are called.
    pub(super) servers: Vec<String>,
    pub(super) function: DigestFunction,
    pub(super) samples: Vec<Sample>,
}

impl Sample {
    /// Returns units in a second.
    fn rate(&self) -> f64 {
        let Measured { units, elapsed, .. } = self.measured;
        ratio(units, 1) / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn shown_rate(&self) -> String {
        if self.row.is_large() {
            return format!("{:.0} MiB/s", self.rate() / f64::from(1 << 20));
        }
        format!("{:.0} {}/s", self.rate(), self.row.unit())
    }

    /// Returns the processor time that the server needs for a unit, or for a MiB, in microseconds.
    fn server_microseconds(&self) -> Option<f64> {
        let cpu = self.measured.server?.cpu.as_secs_f64();
        let unit = if self.row.is_large() { 1 << 20 } else { 1 };
        Some(cpu * 1e6 / ratio(self.measured.units.max(1), unit))
    }

    /// Returns what is shown of it, under [`HEADING`].
    pub(super) fn line(&self, name: &str) -> String {
        let measured = &self.measured;
        let milliseconds = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
        let cpu = self.server_microseconds().map_or_else(String::new, |it| format!("{it:.1} µs"));
        let memory = measured.server.map(|usage| ByteSize(usage.resident_bytes).to_string());
        let share = measured.client_cpu.as_secs_f64() / measured.elapsed.as_secs_f64().max(1e-9);
        format!(
            "{:<13} {:>4}  {name:<12} {:>19} {:>11} {:>11} {cpu:>10} {:>10} {:>5.0} %",
            self.row.name(),
            self.clients,
            self.shown_rate(),
            milliseconds(measured.p50),
            milliseconds(measured.p99),
            memory.unwrap_or_default(),
            share * 100.0,
        )
    }

    fn json(&self, name: &str) -> Value {
        let measured = &self.measured;
        let microseconds = |time: Duration| time.as_secs_f64() * 1e6;
        json!({
            "row": self.row.name(),
            "clients": self.clients,
            "server": name,
            "unit": self.row.unit(),
            "per_second": self.rate(),
            "calls": measured.times,
            "p50_microseconds": microseconds(measured.p50),
            "p99_microseconds": microseconds(measured.p99),
            "failures": measured.failures,
            "failure": measured.failure,
            "server_cpu_seconds": measured.server.map(|usage| usage.cpu.as_secs_f64()),
            "server_resident_bytes": measured.server.map(|usage| usage.resident_bytes),
            "client_cpu_seconds": measured.client_cpu.as_secs_f64(),
            "seconds": measured.elapsed.as_secs_f64(),
        })
    }
}

impl Report {
    /// Returns whether a server failed at something.
    pub(super) fn has_failures(&self) -> bool {
        self.samples.iter().any(|sample| sample.measured.failures > 0)
    }

    pub(super) fn show(&self, settings: &Settings) {
        let medians = self.medians();
        if settings.json {
            let rows: Vec<_> =
                medians.iter().map(|sample| sample.json(&self.servers[sample.server])).collect();
            say_json(&json!({ "digest": self.function.name(), "rows": rows }));
            return;
        }
        say(HEADING);
        for sample in &medians {
            let line = sample.line(&self.servers[sample.server]);
            let first = first(&medians, sample);
            let versus = first.map_or_else(String::new, |first| {
                format!(" {:>6.2}", first.rate() / sample.rate().max(f64::MIN_POSITIVE))
            });
            say(&format!("{line}{versus}"));
        }
        for sample in self.samples.iter().filter(|sample| sample.measured.failures > 0) {
            let (name, measured) = (&self.servers[sample.server], &sample.measured);
            let why = measured.failure.as_deref().unwrap_or_default();
            let failures = count(measured.failures, "failure");
            let (row, clients) = (sample.row.name(), count(sample.clients.into(), "client"));
            say(&format!("{row} with {clients} on {name}: {failures}, the first: {why}"));
        }
    }

    /// Returns of each row and server the sample with the middle rate, in the order in which they were first measured.
    fn medians(&self) -> Vec<&Sample> {
        let key = |sample: &Sample| (sample.row, sample.clients, sample.server);
        let mut medians: Vec<&Sample> = Vec::new();
        for sample in &self.samples {
            if medians.iter().any(|median| key(median) == key(sample)) {
                continue;
            }
            let mut rounds: Vec<_> =
                self.samples.iter().filter(|other| key(other) == key(sample)).collect();
            rounds.sort_by(|one, other| one.rate().total_cmp(&other.rate()));
            medians.push(rounds[rounds.len() / 2]);
        }
        medians
    }
}

/// Returns the first server's sample of the same row, for one of another server.
fn first<'a>(medians: &[&'a Sample], sample: &Sample) -> Option<&'a Sample> {
    let is_first = |other: &&&Sample| {
        other.server == 0 && (other.row, other.clients) == (sample.row, sample.clients)
    };
    (sample.server != 0).then(|| medians.iter().find(is_first).copied()).flatten()
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn ratio(number: u64, unit: u64) -> f64 {
    number as f64 / unit as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_the_rounds_counts() {
        let sample = |server, units| Sample {
            row: Row::Read,
            clients: 1,
            server,
            measured: Measured { units, elapsed: Duration::from_secs(1), ..Measured::default() },
        };
        let samples = [(0, 5), (1, 40), (0, 1), (1, 30), (0, 3), (1, 20)];
        let report = Report {
            servers: vec!["ours".to_owned(), "peer".to_owned()],
            function: DigestFunction::Blake3,
            samples: samples.map(|(server, units)| sample(server, units)).into(),
        };
        let medians = report.medians();
        let units: Vec<_> = medians.iter().map(|it| it.measured.units).collect();
        assert_eq!(units, [3, 30]);
        assert_eq!(first(&medians, medians[1]).map(|it| it.measured.units), Some(3));
        assert!(first(&medians, medians[0]).is_none());
    }
}
