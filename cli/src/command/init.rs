//! `bld init`: a new workspace that builds.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use engine::{CONFIG_FILE, OUTPUT_FOLDER};
use serde_json::json;

use crate::error::CliError;
use crate::exit;
use crate::settings::Settings;
use crate::terminal::{say, say_json};

/// What a new workspace consists of.
const FILES: [(&str, &str); 3] = [
    (CONFIG_FILE, include_str!("init/bld.toml")),
    ("hello/BUILD.bld", include_str!("init/BUILD.bld")),
    ("hello/name.txt", "world\n"),
];

/// What git is told to leave alone.
const IGNORED: &str = ".gitignore";

#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// The folder that becomes a workspace
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
}

pub(crate) fn run(settings: &Settings, args: &InitArgs) -> Result<ExitCode, CliError> {
    let folder = settings.directory.join(&args.folder);
    refuse_inside_another(&folder)?;
    let taken: Vec<_> =
        FILES.iter().map(|(path, _)| *path).filter(|it| stands(&folder, it)).collect();
    if !taken.is_empty() {
        let names = taken.join(", ");
        return Err(CliError::Taken { folder, names });
    }
    let mut written = Vec::new();
    for (path, text) in FILES {
        write(&folder.join(path), text)?;
        written.push(path);
    }
    if ignore(&folder.join(IGNORED))? {
        written.push(IGNORED);
    }
    answer(settings, args, &folder, &written);
    Ok(exit::SUCCESS)
}

fn answer(settings: &Settings, args: &InitArgs, folder: &Path, written: &[&str]) {
    if settings.json {
        say_json(&json!({ "workspace": folder, "written": written }));
        return;
    }
    for path in written {
        say(&format!("wrote {}", args.folder.join(path).display()));
    }
    say("");
    say("What to do next:");
    if args.folder != Path::new(".") {
        say(&format!("    cd {}", args.folder.display()));
    }
    say(
        "    bld build //...                    builds everything; the first time it makes bld.lock",
    );
    say(&format!("    cat {OUTPUT_FOLDER}/hello/hello.txt"));
    say("    git add bld.lock                   so that everybody builds with the same packages");
    say("Then read hello/BUILD.bld, and change it.");
}

/// A workspace in a workspace would be part of both.
fn refuse_inside_another(folder: &Path) -> Result<(), CliError> {
    let above = folder.ancestors().skip(1).find(|above| above.join(CONFIG_FILE).is_file());
    match above {
        Some(outer) => {
            let (folder, outer) = (folder.to_owned(), outer.to_owned());
            Err(CliError::Nested { folder, outer })
        }
        None => Ok(()),
    }
}

/// Returns whether something stands at a path, be it a link that leads nowhere.
fn stands(folder: &Path, path: &str) -> bool {
    folder.join(path).symlink_metadata().is_ok()
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let parent = path.parent().expect("files of a workspace lie in it");
    fs::create_dir_all(parent).map_err(CliError::disk("create", parent))?;
    // Not even what appeared just now is overwritten.
    let file = fs::File::create_new(path).map_err(CliError::disk("create", path))?;
    drop(file);
    fs::write(path, text).map_err(CliError::disk("write", path))
}

/// Adds the folder of results to what git ignores; returns whether that was needed.
fn ignore(path: &Path) -> Result<bool, CliError> {
    let mut text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(CliError::disk("read", path)(error)),
    };
    if text.lines().any(|line| line.trim().trim_matches('/') == OUTPUT_FOLDER) {
        return Ok(false);
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let text = format!("{text}/{OUTPUT_FOLDER}/\n");
    fs::write(path, text).map_err(CliError::disk("write", path))?;
    Ok(true)
}
