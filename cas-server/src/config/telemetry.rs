//! How a server tells what it does.

use std::path::PathBuf;

use serde::Deserialize;

use super::text;

/// How a server tells what it does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Where traces are sent, by OTLP over gRPC; nowhere if absent.
    pub otlp: Option<String>,
    /// Who issued the certificate of whoever takes them, in PEM; without it the system's authorities are believed.
    #[serde(deserialize_with = "text::optional_path")]
    pub otlp_authority: Option<PathBuf>,
    /// What is logged.
    pub log: LogLevel,
    /// How.
    pub format: LogFormat,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { otlp: None, otlp_authority: None, log: LogLevel::Info, format: LogFormat::Text }
    }
}

/// What is logged: this and what is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What somebody has to look after.
    Error,
    /// What somebody may have to look after.
    Warn,
    /// What happens to the server.
    Info,
    /// What happens to each call.
    Debug,
    /// Everything.
    Trace,
}

/// How lines of the log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: a line of JSON each.
    Json,
}
