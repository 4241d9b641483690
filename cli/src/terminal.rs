//! What is printed, and how.

use std::error::Error;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::OnceLock;

use crate::ci::Ci;
use crate::error::CliError;
use crate::exit;
use crate::plain::harmless;

/// How much of a long answer is held back: enough for few calls of the system.
const ANSWER_BYTES: usize = 1 << 16;

/// Prints a line of the answer.
///
/// Who reads it may have seen enough (`bld log … | head`): what cannot be written any more is not a failure.
pub(crate) fn say(line: &str) {
    write_answer(&format!("{}\n", Ci::detect().tame(&harmless(line))));
}

/// Writes a part of the answer. One that cannot be written for another reason than that nobody reads it is a failure:
/// an empty answer must not be taken for one.
fn write_answer(text: &str) {
    let written = std::io::stdout().write_all(text.as_bytes());
    let flushed = written.and_then(|()| std::io::stdout().flush());
    if let Err(error) = flushed
        && error.kind() != ErrorKind::BrokenPipe
    {
        tell(&format!("error: cannot write the answer: {error}"));
        std::process::exit(i32::from(exit::INFRASTRUCTURE));
    }
}

/// Prints a line about what goes on.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", Ci::detect().tame(&harmless(line)));
}

/// Prints a line for who keeps the log, if there is one.
pub(crate) fn tell_service(line: Option<String>) {
    if let Some(line) = line {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// Prints an answer in JSON.
pub(crate) fn say_json(value: &serde_json::Value) {
    write_answer(&format!("{}\n", Ci::detect().tame_json(&format!("{value:#}"))));
}

/// Shows what stopped a command beside the change that is to blame, where that can be shown.
pub(crate) fn annotate(error: &CliError, directory: Option<&Path>) {
    let text = chain(error).join("\n");
    let directory = directory.unwrap_or(Path::new(".")).canonicalize().unwrap_or_default();
    let root = directory.ancestors().find(|it| it.join(engine::CONFIG_FILE).is_file());
    let diagnostic =
        if let CliError::Diagnostic(diagnostic) = error { Some(diagnostic) } else { None };
    let place = diagnostic.and_then(|it| it.place.as_ref());
    tell_service(Ci::detect().error(place.zip(root), "bld", &text));
}

/// Prints an answer in JSON, part by part: it may be long.
pub(crate) fn say_serialized(value: &impl serde::Serialize) {
    let mut answer = Answer { text: Vec::new(), ci: Ci::detect() };
    let written = serde_json::to_writer_pretty(&mut answer, value);
    written.expect("an answer has only texts as keys");
    answer.text.push(b'\n');
    answer.pass_on();
}

/// An answer that is written as it is made.
struct Answer {
    text: Vec<u8>,
    ci: Ci,
}

impl Answer {
    fn pass_on(&mut self) {
        // All of it is UTF-8, and cut at the end of a line.
        let text = String::from_utf8_lossy(&self.text);
        write_answer(&self.ci.tame_json(&text));
        self.text.clear();
    }
}

impl std::io::Write for Answer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.extend_from_slice(bytes);
        if self.text.len() >= ANSWER_BYTES && bytes.ends_with(b"\n") {
            self.pass_on();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Prints an answer in JSON in one line.
pub(crate) fn say_line_json(value: &impl serde::Serialize) {
    say(&serde_json::to_string(value).expect("an answer has only texts as keys"));
}

/// Prints what stopped a command: the error, and what is behind it.
pub(crate) fn report(error: &CliError, json: bool) {
    if json {
        say_json(&serde_json::json!({ "error": chain(error) }));
    }
    let paint = Paint::for_stderr();
    let mut chain = chain(error).into_iter();
    let first = chain.next().unwrap_or_default();
    tell(&format!("{} {first}", paint.red("error:")));
    for cause in chain {
        tell(&format!("  because: {}", cause.trim_end()));
    }
}

/// Returns an error and its causes, without repeating one that says the same.
pub(crate) fn chain(error: &dyn Error) -> Vec<String> {
    let mut chain = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if chain.last().is_none_or(|last| !last.contains(&text)) {
            chain.push(text);
        }
        source = cause.source();
    }
    chain
}

/// Returns a number and what it counts: `1 file`, `2 files`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// What was chosen about colours, once it is known; how something looks is all that it can change.
static COLOUR: OnceLock<Colour> = OnceLock::new();

/// Whether texts are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    /// On terminals that can show it.
    Auto,
    Always,
    Never,
}

/// Says what was chosen about colours; the first to say so counts.
pub(crate) fn choose_colour(colour: Colour) {
    let _ = COLOUR.set(colour);
}

/// Colours, where they are wanted.
#[derive(Clone, Copy)]
pub(crate) struct Paint(bool);

impl Paint {
    /// Returns colours for standard error, if that is a terminal and `NO_COLOR` does not forbid them.
    pub(crate) fn for_stderr() -> Self {
        Self(wants_colour(std::io::stderr().is_terminal()))
    }

    /// Returns colours for standard output.
    pub(crate) fn for_stdout() -> Self {
        Self(wants_colour(std::io::stdout().is_terminal()))
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.with("31;1", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn wants_colour(is_terminal: bool) -> bool {
    match COLOUR.get() {
        Some(Colour::Always) => true,
        Some(Colour::Auto) => {
            is_terminal && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        }
        // Nothing, where what was chosen cannot even be read.
        Some(Colour::Never) | None => false,
    }
}

/// Returns whether progress can be drawn: standard error is a terminal that can move its cursor.
pub(crate) fn can_draw() -> bool {
    std::io::stderr().is_terminal()
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        && std::env::var_os("CI").is_none()
        && Ci::detect() == Ci::Plain
}
