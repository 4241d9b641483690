//! Exit codes, as docs/CLI.md documents them.

use std::process::ExitCode;

/// All that was asked for was done.
pub(crate) const SUCCESS: ExitCode = ExitCode::SUCCESS;

/// Something that was to be built failed.
pub(crate) const BUILD_FAILED: u8 = 1;

/// What was asked for makes no sense: a wrong word, a mistake in a build file, a lock that may not change.
pub(crate) const USER_ERROR: u8 = 2;

/// The machine, the disk or the network failed.
pub(crate) const INFRASTRUCTURE: u8 = 3;

/// Interrupted by Ctrl-C or SIGTERM.
pub(crate) const INTERRUPTED: u8 = 130;
