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
    what_the_kernel_lets_root_change_cannot_even_be_opened,
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

fn what_the_kernel_lets_root_change_cannot_even_be_opened(rung: Rung) {
    let world = World::new(rung);
    for place in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/vm/drop_caches",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/proc/self/uid_map",
        "/proc/self/oom_score_adj",
    ] {
        // Nothing is written: should it be open after all, the machine shall survive this.
        let script = format!(r#"open(my $f, "+<", "{place}") and print "open"; print $!+0"#);
        let said = world.perl(&script).says();
        let refused = [libc::EROFS, libc::EACCES, libc::ENOENT].map(|errno| errno.to_string());
        assert!(refused.contains(&said), "{place}: {said}");
    }
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
    assert_eq!((ran.stdout.as_str(), ran.exit_code()), ("done\n", 0), "{}", ran.stderr);
}

fn writing_through_every_mount_changes_nothing(rung: Rung) {
    attack(rung, &[]);
}

fn writing_through_every_mount_of_a_nested_namespace_changes_nothing(rung: Rung) {
    attack(rung, &["/usr/bin/unshare", "-U", "-m", "--keep-caps"]);
}

fn a_namespace_made_inside_brings_no_power_over_mounts(rung: Rung) {
    let world = World::new(rung);
    // By system call: the program `mount` gives up before it has asked.
    let remount = |path: &str| format!("$p = \"{path}\"; syscall(165, $n, $p, $n, 32 | 4096, 0)");
    let bind = r#"$p = "/usr"; $q = "/work"; syscall(165, $p, $q, $n, 4096, 0) == 0 && open(F, ">", "/work/x") ? 0 : -1"#;
    let unmount = |path: &str| format!("$p = \"{path}\"; syscall(166, $p, 2)");
    let processes = r#"$p = "proc"; $q = "/tmp"; syscall(165, $p, $q, $p, 0, 0)"#;
    for (how, change) in [
        ("unshare -U -m --keep-caps", remount("/")),
        ("unshare -U -m --keep-caps", remount("/usr")),
        ("unshare -U -m --keep-caps", remount("/proc")),
        ("unshare -U -m --keep-caps", bind.to_owned()),
        ("unshare -U -m --keep-caps", unmount("/usr")),
        ("unshare -U -m --keep-caps", unmount("/work/out")),
        ("unshare -U -m --keep-caps -p -f", processes.to_owned()),
    ] {
        // That the namespace itself can be made, and has mounts of its own, is what gives the rest its meaning.
        let able =
            r#"$p = "tmpfs"; $q = "/tmp"; exit(syscall(165, $p, $q, $p, 0, 0) == 0 ? 0 : 1)"#;
        assert_eq!(world.sh(&format!("{how} perl -e '{able}'")).ran().exit_code(), 0, "{how}");
        let script = format!("{how} perl -e '$n = \"\"; exit((do {{ {change} }}) == 0 ? 0 : 1)'");
        assert_eq!(world.sh(&script).ran().exit_code(), 1, "{how} {change}");
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
