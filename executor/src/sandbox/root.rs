//! The root that a command sees, built of mounts before anything of it runs.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};
use rustix::process::{chdir, fchdir, pivot_root};

use super::copy::{copy_tree, give_away};
use super::init::step;
use super::spec::{Beginning, Mount, MountKind, Rung, SetupFailure, Spec};
use super::{linux, reversed};

/// How large `/tmp` may become: temporary files of compilers fit, a runaway does not eat the machine.
const TMP_OPTIONS: &str = "mode=1777,size=4g,nr_inodes=1m";

/// The devices that a command sees.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// Mounts what every command sees on the directory that is to be the root.
pub(super) fn begin_root(beginning: &Beginning) -> Result<(), SetupFailure> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(step("detaching from the machine's mounts"))?;
    let root = &beginning.layout.root();
    mount_new("tmpfs", root, "mode=0755,size=16m").map_err(step("mounting the root"))?;
    show_devices(&root.join("dev")).map_err(step("showing /dev"))?;
    show_processes(&root.join("proc")).map_err(step("showing /proc"))?;
    show_new("tmpfs", &root.join("tmp"), TMP_OPTIONS).map_err(step("showing /tmp"))?;
    enter_root(root).map_err(step("entering the root"))
}

/// Mounts what this command sees besides, and leaves the machine's own root for good.
pub(super) fn finish_root(beginning: &Beginning, spec: &Spec) -> Result<(), SetupFailure> {
    let mut mounts = spec.mounts.clone();
    mounts.iter_mut().for_each(find_outside);
    if spec.reversed {
        mounts = reverse(beginning, &mounts).map_err(step("listing trees the other way round"))?;
    }
    for mount in &mounts {
        show(beginning, mount).map_err(step(&format!("showing /{}", mount.at)))?;
    }
    leave_old_root().map_err(step("leaving the machine's root"))
}

/// Names what a mount shows as it is found from where init stands: in the old root.
fn find_outside(mount: &mut Mount) {
    let paths: Vec<&mut PathBuf> = match &mut mount.kind {
        MountKind::Folder | MountKind::Link(_) => Vec::new(),
        MountKind::Tree(path) | MountKind::File(path) | MountKind::Writable(path) => vec![path],
        MountKind::Layers(layers) => layers.iter_mut().collect(),
        MountKind::Overlay { lower, upper, work } => vec![lower, upper, work],
    };
    for path in paths {
        *path = outside(path);
    }
}

fn outside(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}

fn reverse(beginning: &Beginning, mounts: &[Mount]) -> io::Result<Vec<Mount>> {
    let folder = outside(&beginning.layout.reversed());
    mount_new("tmpfs", &folder, reversed::OPTIONS)?;
    reversed::reverse_small(mounts, &folder)
}

fn show(beginning: &Beginning, mount: &Mount) -> io::Result<()> {
    let (rung, id) = (beginning.rung, beginning.surroundings.id);
    let at = Path::new("/").join(&mount.at);
    let sealed = linux::READ_ONLY | linux::NO_SUID | linux::NO_DEVICES;
    let open = linux::NO_SUID | linux::NO_DEVICES;
    match &mount.kind {
        MountKind::Folder => make_directory(&at),
        MountKind::Link(target) => symlink(target, &at),
        MountKind::Tree(path) => {
            make_directory(&at)?;
            mount_bind(path, &at)?;
            linux::restrict_mount(&at, sealed)
        }
        MountKind::File(path) => {
            File::create_new(&at)?;
            mount_bind(path, &at)?;
            linux::restrict_mount(&at, sealed)
        }
        MountKind::Writable(path) => {
            make_directory(&at)?;
            if rung == Rung::Root {
                give_away(path, id)?;
            }
            mount_bind(path, &at)?;
            linux::restrict_mount(&at, open)
        }
        MountKind::Layers(layers) => {
            make_directory(&at)?;
            let layers: Vec<_> = layers.iter().map(|path| escape(path)).collect();
            mount_overlay(&at, &format!("lowerdir={}", layers.join(":")), rung)?;
            linux::restrict_mount(&at, sealed)
        }
        MountKind::Overlay { lower, upper, .. } if rung == Rung::Root => {
            copy_tree(lower, upper, id)?;
            make_directory(&at)?;
            mount_bind(upper, &at)?;
            linux::restrict_mount(&at, open)
        }
        MountKind::Overlay { lower, upper, work } => {
            make_directory(&at)?;
            let [lower, upper, work] = [lower, upper, work].map(|path| escape(path));
            let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
            mount_overlay(&at, &options, rung)?;
            linux::restrict_mount(&at, open)
        }
    }
}

fn mount_overlay(at: &Path, options: &str, rung: Rung) -> io::Result<()> {
    let options = match rung {
        // Without privileges over the machine, the kernel keeps its marks in the user's attributes.
        Rung::UserNamespace => format!("{options},userxattr"),
        Rung::Root | Rung::Bare => options.to_owned(),
    };
    mount_new("overlay", at, &options)
}

/// Escapes a path for an overlay's options.
fn escape(path: &Path) -> String {
    let mut escaped = String::new();
    for character in path.to_string_lossy().chars() {
        if matches!(character, '\\' | ':' | ',') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// Makes a directory to mount on. One that is there must be a directory: a link would lead out of the root.
fn make_directory(at: &Path) -> io::Result<()> {
    match fs::create_dir(at) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if at.symlink_metadata()?.is_dir() {
                return Ok(());
            }
            Err(io::Error::from_raw_os_error(libc::ENOTDIR))
        }
        other => other,
    }
}

fn show_devices(dev: &Path) -> io::Result<()> {
    show_new("tmpfs", dev, "mode=0755,size=64k")?;
    for device in DEVICES {
        let at = dev.join(device);
        File::create_new(&at)?;
        mount_bind(Path::new("/dev").join(device), &at)?;
        // Writing to a device takes no writable mount; changing its mode or owner, for the whole machine, does.
        linux::restrict_mount(&at, linux::READ_ONLY | linux::NO_SUID)?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, dev.join(name))?;
    }
    show_new("tmpfs", &dev.join("shm"), "mode=1777,size=1g")?;
    linux::restrict_mount(dev, linux::READ_ONLY | linux::NO_SUID)
}

/// Read-only, because a command that root started owns what the kernel lets root change without asking for
/// a capability: `/proc/sys`, `/proc/sysrq-trigger`, `/proc/irq`…
fn show_processes(at: &Path) -> io::Result<()> {
    show_new("proc", at, "")?;
    linux::restrict_mount(at, linux::READ_ONLY)
}

fn show_new(kind: &str, at: &Path, options: &str) -> io::Result<()> {
    make_directory(at)?;
    mount_new(kind, at, options)
}

fn mount_new(kind: &str, at: &Path, options: &str) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let options = CString::new(options)?;
    mount(kind, at, kind, flags, options.as_c_str()).map_err(Into::into)
}

/// Makes it the root, and stays in the old one: what is still to be shown lies there.
fn enter_root(root: &Path) -> io::Result<()> {
    let old_root = open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    chdir(root)?;
    // Old and new root on one another: no directory is needed to put the old one on.
    pivot_root(".", ".")?;
    fchdir(old_root).map_err(Into::into)
}

fn leave_old_root() -> io::Result<()> {
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")?;
    linux::restrict_mount(Path::new("/"), linux::READ_ONLY | linux::NO_SUID | linux::NO_DEVICES)
}
