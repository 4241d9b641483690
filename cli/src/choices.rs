//! What a person or a machine chooses: where each value may be said, which one counts, and what it overrides.
//!
//! A flag counts before the environment, that before the user's file, that before the default. None of these values can
//! get into a key: they say where and how fast something is built, never what.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::args::Args;
use crate::error::CliError;
use crate::size::ByteSize;

/// Where the user's file is below the folder of configurations.
const USER_FILE: &str = "bld/bld.toml";

/// What belongs to a workspace, so that everybody builds the same.
const WORKSPACE_KEYS: [&str; 4] = ["digest", "rules", "settings", "debian"];

/// How many actions may run at once, as `--jobs` has it.
const JOBS_MAX: u16 = 4096;

/// Something that can be chosen.
pub(crate) struct Key {
    /// Its name, in the user's file and for `bld config`.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) meaning: &'static str,
    /// The flag that chooses it.
    flag: Option<&'static str>,
    /// The variable that chooses it.
    variable: &'static str,
    /// Returns why a text is not one of its values.
    wrong: fn(&str) -> Option<String>,
}

/// Everything that can be chosen.
pub(crate) const KEYS: [Key; 5] = [
    Key {
        name: "colour",
        meaning: "whether texts are coloured: auto, always or never",
        flag: None,
        variable: "NO_COLOR",
        wrong: |text| {
            let known = ["auto", "always", "never"].contains(&text);
            (!known).then(|| "it is auto, always or never".to_owned())
        },
    },
    Key {
        name: "jobs",
        meaning: "how many actions run at once",
        flag: Some("--jobs"),
        variable: "BLD_JOBS",
        wrong: |text| {
            let number = text.parse::<u16>().is_ok_and(|it| (1..=JOBS_MAX).contains(&it));
            (!number).then(|| format!("it is a number from 1 to {JOBS_MAX}"))
        },
    },
    Key {
        name: "remote",
        meaning: "where results are shared: an address, or none",
        flag: Some("--remote"),
        variable: "BLD_REMOTE",
        wrong: |text| text.is_empty().then(|| "it is an address, or none".to_owned()),
    },
    Key {
        name: "store",
        meaning: "where the store is",
        flag: Some("--store"),
        variable: "BLD_STORE",
        wrong: |text| text.is_empty().then(|| "it is a folder".to_owned()),
    },
    Key {
        name: "store_budget",
        meaning: "how large the store may be after a build",
        flag: Some("--store-budget"),
        variable: "BLD_STORE_BUDGET",
        wrong: |text| text.parse::<ByteSize>().err().map(|error| error.to_string()),
    },
];

/// Who says what a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A flag of this command.
    Flag(&'static str),
    /// A variable of the environment.
    Variable(&'static str),
    /// A line of a file.
    File(PathBuf, usize),
    /// Nobody.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// A value, and who says so.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// The value as a text.
    pub(crate) value: String,
    /// Who says so.
    pub(crate) origin: Origin,
}

/// What was said about each key, what counts first.
pub(crate) struct Choices(BTreeMap<&'static str, Vec<Said>>);

impl Choices {
    /// Collects what flags, the environment and the user's file say, and checks all of it.
    pub(crate) fn collect(args: &Args) -> Result<Self, CliError> {
        let file = user_file().map(|path| read(&path)).transpose()?.unwrap_or_default();
        let mut choices = BTreeMap::new();
        for key in &KEYS {
            let say = |value: Option<String>, origin| value.map(|value| Said { value, origin });
            let said = [
                say(flag(args, key), Origin::Flag(key.flag.unwrap_or_default())),
                say(variable(key)?, Origin::Variable(key.variable)),
                file.get(key.name).cloned(),
                say(default(key), Origin::Default),
            ];
            let said: Vec<_> = said.into_iter().flatten().collect();
            for Said { value, origin } in &said {
                if let Some(why) = (key.wrong)(value) {
                    let (value, origin) = (value.clone(), origin.clone());
                    return Err(CliError::Choice { key: key.name, value, origin, why });
                }
            }
            choices.insert(key.name, said);
        }
        Ok(Self(choices))
    }

    /// Returns the value that counts.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        Some(&self.all(key).first()?.value)
    }

    /// Returns all that was said about a key, what counts first.
    pub(crate) fn all(&self, key: &str) -> &[Said] {
        &self.0[key]
    }
}

fn flag(args: &Args, key: &Key) -> Option<String> {
    match key.name {
        "store" => args.store.as_ref().map(|path| path.display().to_string()),
        // In bytes: what is shown is rounded.
        "store_budget" => args.store_budget.map(|ByteSize(bytes)| bytes.to_string()),
        _ => None,
    }
}

fn variable(key: &Key) -> Result<Option<String>, CliError> {
    let Some(value) = std::env::var_os(key.variable).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    if key.name == "colour" {
        // <https://no-color.org>: any value but the empty one.
        return Ok(Some("never".to_owned()));
    }
    let text = value.into_string();
    text.map(Some).map_err(|_value| CliError::NotText(key.variable))
}

fn default(key: &Key) -> Option<String> {
    Some(match key.name {
        "colour" => "auto".to_owned(),
        "jobs" => std::thread::available_parallelism()
            .map_or(1, std::num::NonZero::get)
            .min(usize::from(JOBS_MAX))
            .to_string(),
        // Without a home there is none; no matter, if somebody says where it is.
        "store" => {
            let root = store::default_root(folder("XDG_CACHE_HOME"), folder("HOME"));
            return root.map(|path| path.display().to_string());
        }
        // The workspace says which.
        "remote" => return None,
        _ => "40 GiB".to_owned(),
    })
}

/// Returns the folder that a variable names. One that is empty or relative counts as not set.
pub(crate) fn folder(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|it| it.is_absolute())
}

/// Returns where the user's file is, if it is anywhere.
pub(crate) fn user_file() -> Option<PathBuf> {
    let folder = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(folder.join(USER_FILE))
}

/// Reads the user's file: each key with its value and line.
fn read(path: &Path) -> Result<BTreeMap<String, Said>, CliError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(BTreeMap::new());
        }
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            return Err(CliError::NotTextFile(path.to_owned()));
        }
        Err(error) => return Err(CliError::disk("read", path)(error)),
    };
    let table: BTreeMap<Spanned<String>, Spanned<toml::Value>> = toml::from_str(&text)
        .map_err(|source| CliError::UserFile { path: path.to_owned(), source })?;
    let mut said = BTreeMap::new();
    for (name, value) in table {
        let line = text[..name.span().start].matches('\n').count() + 1;
        let name = name.into_inner();
        let place = format!("{}:{line}", path.display());
        if !KEYS.iter().any(|key| key.name == name) {
            return Err(unknown(Some(place), &name));
        }
        let value = value.into_inner();
        let number = value.as_integer().map(|number| number.to_string());
        let Some(value) = value.as_str().map(str::to_owned).or(number) else {
            return Err(CliError::Shape { place, name });
        };
        let value = if name == "store" { expand(&value, &place)? } else { value };
        said.insert(name, Said { value, origin: Origin::File(path.to_owned(), line) });
    }
    Ok(said)
}

/// Returns what to say about a name that is no key.
pub(crate) fn unknown(place: Option<String>, name: &str) -> CliError {
    let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
    let hint = if WORKSPACE_KEYS.contains(&name) {
        "; it belongs into the bld.toml of a workspace, so that everybody builds the same"
            .to_owned()
    } else {
        let names: Vec<_> = KEYS.iter().map(|key| key.name.to_owned()).collect();
        let suggestion = engine::suggest(name, &names);
        if suggestion.is_empty() {
            format!(" (there are: {})", names.join(", "))
        } else {
            suggestion
        }
    };
    CliError::UnknownKey { place, name: name.to_owned(), hint }
}

/// A path in the user's file is absolute, or begins with `~/`.
fn expand(text: &str, place: &str) -> Result<String, CliError> {
    if let Some(rest) = text.strip_prefix("~/") {
        let no_home = || CliError::NoHome { place: place.to_owned(), text: text.to_owned() };
        return Ok(folder("HOME").ok_or_else(no_home)?.join(rest).display().to_string());
    }
    if Path::new(text).is_absolute() {
        return Ok(text.to_owned());
    }
    Err(CliError::RelativeStore { place: place.to_owned(), text: text.to_owned() })
}
