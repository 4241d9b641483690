//! Completion: a shell asks what the words that were typed can become, and `bld` answers from the workspace.
//!
//! The scripts of `bld completions` call `bld` with [`VARIABLE`] set. Which options and commands there are, clap's
//! engine knows; what an argument can be, its value name says ([`with_completers`]). Nothing is written, locked or
//! fetched, and a mistake anywhere is no candidate.

mod labels;
mod line;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;

use clap::CommandFactory as _;
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate, complete};

use crate::args::Args;
use crate::terminal::say;
use crate::workspace::OpenWorkspace;

/// What a shell that wants candidates sets to its name.
const VARIABLE: &str = "BLD_COMPLETE";

/// How far is looked ahead: the folders on the way to a package, the package, its target, an axis.
const STEPS_AHEAD_MAX: usize = 16;

/// A shell with a script of its own here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shell {
    /// Gives the line up to the cursor.
    Bash,
    /// Give the words up to the cursor, without quotes.
    Fish,
    Zsh,
}

/// Answers and ends, if a shell asks.
pub(crate) fn answer_if_asked() {
    let Some(name) = std::env::var_os(VARIABLE) else { return };
    let shell = match name.to_str() {
        Some("bash") => Shell::Bash,
        Some("fish") => Shell::Fish,
        Some("zsh") => Shell::Zsh,
        _ => return,
    };
    let mut given = std::env::args_os().skip_while(|word| word != "--").skip(1);
    if shell == Shell::Bash {
        let line = given.next().unwrap_or_default().to_string_lossy().into_owned();
        let breaks = given.next().unwrap_or_default().to_string_lossy().into_owned();
        let typed = line::Typed::parse(&line);
        let found = candidates(typed.words.clone());
        let found = if typed.is_quoted() { ahead(&typed.words, found) } else { found };
        for candidate in found {
            if let Some(rest) = typed.rest_for(&candidate.get_value().to_string_lossy(), &breaks) {
                say(&rest);
            }
        }
    } else {
        for candidate in candidates(given.map(|it| it.to_string_lossy().into_owned()).collect()) {
            let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
            let help = help.lines().next().unwrap_or_default();
            say(&format!("{}\t{help}", candidate.get_value().to_string_lossy()));
        }
    }
    std::process::exit(0);
}

/// Returns what the last of the words can become.
fn candidates(words: Vec<String>) -> Vec<CompletionCandidate> {
    let Some(last) = words.len().checked_sub(1) else { return Vec::new() };
    let mut command = with_completers(Args::command(), &Arc::new(Scene::of(&words)));
    let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
    let found = complete(&mut command, words.clone(), last, None).unwrap_or_default();
    // Whoever has typed nothing yet is shown what can be named, not every option, too.
    let is_option = |it: &CompletionCandidate| it.get_value().to_string_lossy().starts_with('-');
    if words[last].is_empty() && !found.iter().all(is_option) {
        return found.into_iter().filter(|it| !is_option(it)).collect();
    }
    found
}

/// Returns what the only candidate can become in turn, as long as it is not the end of a word: bash closes the quote
/// behind an only candidate, and whoever types would have to open it again.
fn ahead(words: &[String], mut found: Vec<CompletionCandidate>) -> Vec<CompletionCandidate> {
    for _ in 0..STEPS_AHEAD_MAX {
        let [only] = found.as_slice() else { break };
        let text = only.get_value().to_string_lossy().into_owned();
        if !text.ends_with([':', '/', '=', ',', '{']) {
            break;
        }
        let mut words = words.to_vec();
        words.pop();
        words.push(text);
        let next = candidates(words);
        if next.is_empty() {
            break;
        }
        found = next;
    }
    found
}

/// Gives every argument that names something of the workspace a completer, by its value name.
fn with_completers(command: clap::Command, scene: &Arc<Scene>) -> clap::Command {
    let command = command.mut_args(|argument| {
        let name = argument.get_value_names().and_then(|names| names.first()?.to_string().into());
        let find: fn(&OpenWorkspace, &str) -> Vec<Candidate> = match name.as_deref() {
            Some("PATTERN" | "LABEL") => labels::patterns,
            Some("NAME=VALUE") => settings,
            Some("KEY") => {
                return argument.add(ArgValueCandidates::new(|| {
                    let named = crate::choices::KEYS.iter();
                    named
                        .map(|it| CompletionCandidate::new(it.name).help(Some(it.meaning.into())))
                        .collect()
                }));
            }
            Some("DIR") => return argument.value_hint(clap::ValueHint::DirPath),
            Some("FILE") => return argument.value_hint(clap::ValueHint::FilePath),
            _ => return argument,
        };
        let scene = Arc::clone(scene);
        argument.add(ArgValueCompleter::new(move |typed: &OsStr| scene.complete(typed, find)))
    });
    command.mut_subcommands(|inner| with_completers(inner, scene))
}

/// Something that the typed text can become, and what it is.
pub(crate) struct Candidate {
    text: String,
    help: String,
}

/// Where the command that is being typed will work.
struct Scene {
    directory: PathBuf,
}

impl Scene {
    fn of(words: &[String]) -> Self {
        let mut directory = PathBuf::from(".");
        for (at, word) in words.iter().enumerate() {
            let next = || words.get(at + 1).filter(|_| at + 2 < words.len()).cloned();
            let given = match word.as_str() {
                "--" => break,
                "-C" | "--directory" => next(),
                other => {
                    let value = other.strip_prefix("--directory=");
                    value.or_else(|| other.strip_prefix("-C")).map(str::to_owned)
                }
            };
            directory = given.map_or(directory, PathBuf::from);
        }
        Self { directory }
    }

    fn complete(
        &self,
        typed: &OsStr,
        find: fn(&OpenWorkspace, &str) -> Vec<Candidate>,
    ) -> Vec<CompletionCandidate> {
        let Some(typed) = typed.to_str() else { return Vec::new() };
        let Ok(directory) = self.directory.canonicalize() else { return Vec::new() };
        let Ok(workspace) = OpenWorkspace::around(&directory) else { return Vec::new() };
        let found = find(&workspace, typed);
        let found = found.into_iter().filter(|candidate| candidate.text.starts_with(typed));
        let shown = found.map(|Candidate { text, help }| {
            CompletionCandidate::new(text).help((!help.is_empty()).then(|| help.into()))
        });
        shown.collect()
    }
}

/// Returns the settings of `bld.toml` that `--set` can choose, or the values of the one that is typed.
fn settings(workspace: &OpenWorkspace, typed: &str) -> Vec<Candidate> {
    let settings = &workspace.config.settings;
    let Some((name, _)) = typed.split_once('=') else {
        let named = settings
            .iter()
            .map(|(name, values)| Candidate { text: format!("{name}="), help: values.join(", ") });
        return named.collect();
    };
    let values = settings.get(name).into_iter().flatten();
    values.map(|it| Candidate { text: format!("{name}={it}"), help: String::new() }).collect()
}
