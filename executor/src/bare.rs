//! Running without a sandbox: only for actions whose inputs all lie in the working directory.
//!
//! The command sees the whole machine, so nothing that comes of it may be recorded anywhere.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use model::{Command, Node, RelativePath, TreeDigest};
use rustix::process::{Pid, Signal, kill_process_group};
use store::{LocalStore, TreeSource};

use crate::ExecuteError;
use crate::inputs::output_folder;
use crate::layout::OUTPUT_FOLDER;
use crate::sandbox::Outcome;

/// How often it is looked whether the command has ended or its time is up.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Copies the action's inputs into `scratch/work`, where they may be written like everything else there.
///
/// Refuses an action that wants anything shown elsewhere: that would take a build root or a mount.
pub(crate) async fn prepare(
    store: &LocalStore,
    root: TreeDigest,
    command: &Command,
    scratch: &Path,
    trees: &dyn TreeSource,
) -> Result<(), ExecuteError> {
    let missing = |digest| ExecuteError::MissingInput { digest, path: RelativePath::root() };
    let directory = store.directory(root)?.ok_or_else(|| missing(root.0))?;
    let work = scratch.join("work");
    let place = command.working_directory.as_str();
    for (name, node) in directory.children() {
        let Node::Directory(tree) = node else { return Err(ExecuteError::NeedsSandbox) };
        if name.as_str() != place {
            return Err(ExecuteError::NeedsSandbox);
        }
        let from = trees.ensure(*tree).await?.ok_or_else(|| missing(tree.0))?;
        tokio::task::block_in_place(|| copy(&from, &work))?;
    }
    make_folder(&work)?;
    make_folder(&work.join(OUTPUT_FOLDER))?;
    for path in &command.output_paths {
        if path.strip_prefix(&output_folder()).is_none() {
            return Err(ExecuteError::OutputPlace(path.clone()));
        }
        let parent = path.split_last().map(|(parent, _)| parent).unwrap_or_default();
        make_folder(&work.join(&parent))?;
    }
    Ok(())
}

fn make_folder(path: &Path) -> Result<(), ExecuteError> {
    fs::create_dir_all(path).map_err(ExecuteError::disk("create", path))
}

fn copy(from: &Path, to: &Path) -> Result<(), ExecuteError> {
    make_folder(to)?;
    for entry in fs::read_dir(from).map_err(ExecuteError::disk("list", from))? {
        let entry = entry.map_err(ExecuteError::disk("list", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(ExecuteError::disk("look at", &source))?;
        if kind.is_dir() {
            copy(&source, &target)?;
        } else if kind.is_symlink() {
            let link = fs::read_link(&source).map_err(ExecuteError::disk("read", &source))?;
            symlink(link, &target).map_err(ExecuteError::disk("link", &target))?;
        } else {
            fs::copy(&source, &target).map_err(ExecuteError::disk("copy", &source))?;
            let mode = fs::metadata(&source).map_or(0o644, |it| it.permissions().mode() | 0o200);
            fs::set_permissions(&target, Permissions::from_mode(mode & 0o777))
                .map_err(ExecuteError::disk("copy", &source))?;
        }
    }
    Ok(())
}

/// Runs the command on the machine as it is. Blocks. `cut` says when nobody waits for it any more.
pub(crate) fn run(
    command: &Command,
    scratch: &Path,
    time: Duration,
    cut: &dyn Fn() -> bool,
) -> Result<Outcome, ExecuteError> {
    let log = |name: &str| {
        let path = scratch.join(name);
        File::create(&path).map_err(ExecuteError::disk("create", &path))
    };
    let began = Instant::now();
    let (stdout, stderr) = (log("stdout")?, log("stderr")?);
    let Some((program, arguments)) = command.arguments.split_first() else {
        return not_started("", scratch, &std::io::ErrorKind::NotFound.into());
    };
    let spawned = std::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(&command.environment)
        .current_dir(scratch.join("work"))
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return not_started(program, scratch, &error),
    };
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let mut timed_out = false;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(ExecuteError::disk("wait in", scratch))? {
            break status;
        }
        timed_out = began.elapsed() >= time;
        if timed_out || cut() {
            if let Some(group) = group {
                let _ = kill_process_group(group, Signal::KILL);
            }
            break child.wait().map_err(ExecuteError::disk("wait in", scratch))?;
        }
        std::thread::sleep(POLL_INTERVAL);
    };
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
    Ok(Outcome {
        exit_code: status.code(),
        signal: status.signal(),
        timed_out,
        wall_us: u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        // Who else used the processor meanwhile cannot be told from here.
        cpu_us: 0,
    })
}

/// As in a sandbox: a program that is not there is the command's failure, told on its standard error.
fn not_started(
    program: &str,
    scratch: &Path,
    error: &std::io::Error,
) -> Result<Outcome, ExecuteError> {
    let path = scratch.join("stderr");
    let message = format!("bld: cannot run `{program}`: {error}\n");
    fs::write(&path, message).map_err(ExecuteError::disk("write", &path))?;
    let absent = error.kind() == std::io::ErrorKind::NotFound;
    let exit_code = Some(if absent { 127 } else { 126 });
    Ok(Outcome { exit_code, signal: None, timed_out: false, wall_us: 0, cpu_us: 0 })
}
