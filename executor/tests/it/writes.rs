//! What a command cannot change: the store, the root, the machine.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use executor::Rung;
use model::Digest;

use crate::support::{World, walk};
use crate::tests;

tests![
    the_root_is_read_only,
    tmp_is_private_and_gone_afterwards,
    writing_through_every_mount_changes_nothing,
    writing_through_every_mount_of_a_nested_namespace_changes_nothing,
    a_namespace_made_inside_brings_no_power_over_mounts,
    kept_files_belong_to_the_store,
];

fn the_root_is_read_only(rung: Rung) {
    let world = World::new(rung);
    for place in ["/x", "/usr/bin/x", "/etc/x", "/dev/x", "/proc/x", "/etc/passwd", "/declared"] {
        let script = format!("echo x > {place}");
        let ran = world.sh(&script).at("declared", world.file("x")).ran();
        assert_ne!(ran.exit_code(), 0, "{place}");
    }
    for change in ["mkdir /x", "rm /bin", "rm -r /usr/bin", "chmod 777 /dev/null", "mv /usr /x"] {
        assert_ne!(world.sh(change).ran().exit_code(), 0, "{change}");
    }
    world.is_clean();
}

fn tmp_is_private_and_gone_afterwards(rung: Rung) {
    let world = World::new(rung);
    let name = format!("bld-it-{}-{rung:?}", std::process::id());
    let write = format!(
        "echo x > /tmp/{name}; echo x > /dev/shm/{name}; echo x > {name}; echo x > out/{name}; ls /tmp"
    );
    assert_eq!(world.sh(&write).says(), format!("{name}\n"));
    assert!(!Path::new("/tmp").join(&name).exists());
    assert!(!Path::new("/dev/shm").join(&name).exists());
    assert_eq!(
        world.sh("ls /tmp /dev/shm /work /work/out").says(),
        "/dev/shm:\n\n/tmp:\n\n/work:\nout\n\n/work/out:\n"
    );
    world.is_clean();
}

/// Everything that matters of a file: it is compared before and after.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    time: (i64, i64),
    inode: u64,
    content: Option<Digest>,
}

fn snapshot(world: &World) -> BTreeMap<PathBuf, Seen> {
    let folders = ["blobs", "trees", "format"].map(|name| world.store.root().join(name));
    let below = folders[..2].iter().flat_map(|folder| walk(folder));
    // The times of directories of blobs change when blobs are added.
    let paths = below.filter(|path| !(path.is_dir() && path.starts_with(&folders[0])));
    // What is remembered beside a tree is touched at each use.
    let paths = paths.filter(|path| path.extension().is_none_or(|it| it != "boot"));
    let seen = |path: PathBuf| {
        let metadata = path.symlink_metadata().unwrap();
        let content = metadata
            .is_file()
            .then(|| Digest::of(model::DigestFunction::Blake3, &fs::read(&path).unwrap()));
        let seen = Seen {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            time: (metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
            content,
        };
        (path, seen)
    };
    paths.chain([folders[2].clone()]).filter(|path| !is_table(world, path)).map(seen).collect()
}

/// The folder that all trees of a function lie in, which gets a new name whenever a tree is made.
fn is_table(world: &World, path: &Path) -> bool {
    path.parent() == Some(&world.store.root().join("trees"))
}

fn attack(rung: Rung, how: &[&str]) {
    let world = World::new(rung);
    let work = world.tree(&[
        ("attack.pl", include_str!("attack.pl")),
        ("source/a.c", "int a;"),
        ("b", "b"),
    ]);
    let etc = world.tree(&[("passwd", "theirs"), ("other", "other")]);
    let arguments = [how, &["/usr/bin/perl", "/work/attack.pl"]].concat();
    let case = world
        .run(&arguments)
        .at("work", work)
        .at("etc", etc)
        .at("declared", world.file("declared"));
    // Once without harm, so that all trees are there to be compared.
    world
        .sh("true")
        .at("work", case.root["work"].clone())
        .at("etc", case.root["etc"].clone())
        .at("declared", world.file("declared"))
        .says();
    let before = snapshot(&world);
    assert!(before.len() > 50);
    let null = fs::metadata("/dev/null").unwrap().mode();
    let ran = case.ran();
    let after = snapshot(&world);
    for (path, seen) in &before {
        assert_eq!(after.get(path), Some(seen), "{} was changed", path.display());
    }
    assert_eq!(fs::metadata("/dev/null").unwrap().mode(), null);
    world.is_clean();
    if how.is_empty() {
        assert_eq!((ran.stdout.as_str(), ran.exit_code()), ("done\n", 0), "{}", ran.stderr);
    } else {
        // Inside a namespace of its own it may change its own mounts; the store it may not.
        let words = ["opened", "truncated", "created", "changed", "removed", "renamed", "linked"];
        let done =
            ran.stdout.lines().filter(|line| words.iter().any(|word| line.starts_with(word)));
        assert_eq!(done.collect::<Vec<_>>(), Vec::<&str>::new());
    }
}

fn writing_through_every_mount_changes_nothing(rung: Rung) {
    attack(rung, &[]);
}

fn writing_through_every_mount_of_a_nested_namespace_changes_nothing(rung: Rung) {
    attack(rung, &["/usr/bin/unshare", "-U", "-m"]);
}

fn a_namespace_made_inside_brings_no_power_over_mounts(rung: Rung) {
    let world = World::new(rung);
    for (how, change) in [
        ("unshare -U -m", "mount -o remount,bind,rw /usr"),
        ("unshare -U -m", "mount -o remount,bind,rw /"),
        ("unshare -U -m", "mount -o remount,bind,rw /proc"),
        ("unshare -U -m", "mount --bind /usr /work; touch /work/x"),
        ("unshare -U -m -p -f", "mount -t proc proc /tmp"),
        ("unshare -U -m", "perl -e 'exit(syscall(166, \"/proc\", 0) == 0 ? 0 : 1)'"),
    ] {
        // That the namespace itself can be made is what gives the rest its meaning.
        assert_eq!(world.sh(&format!("{how} true")).ran().exit_code(), 0, "{how}");
        let script = format!("{how} /bin/sh -c '{}'", change.replace('\'', "'\\''"));
        let ran = world.sh(&script).ran();
        assert_ne!(ran.exit_code(), 0, "{how} {change}: {}{}", ran.stdout, ran.stderr);
    }
    world.is_clean();
}

fn kept_files_belong_to_the_store(rung: Rung) {
    let world = World::new(rung);
    let case =
        world.sh("umask 000; echo x > out/a; cp /bin/true out/b").output("out/a").output("out/b");
    case.says();
    let own = rustix::process::geteuid().as_raw();
    for path in walk(&world.store.root().join("blobs")) {
        let metadata = path.symlink_metadata().unwrap();
        assert_eq!(metadata.uid(), own, "{}", path.display());
        if metadata.is_file() {
            assert!(matches!(metadata.mode() & 0o7777, 0o444 | 0o555), "{}", path.display());
        }
    }
}
