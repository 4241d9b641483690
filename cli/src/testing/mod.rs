//! Tests as people see them: what came of each, its log, its results, and all of it for continuous integration.

pub(crate) mod logs;
pub(crate) mod results;
pub(crate) mod show;
pub(crate) mod suites;
pub(crate) mod verdicts;
