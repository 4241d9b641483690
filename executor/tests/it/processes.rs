//! The end of an action is the end of every process in it, however it ends.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use executor::{Fate, Limits, Rung};

use crate::roles;
use crate::support::{SOON, World, block_on, eventually, marker, sleepers};
use crate::tests;

tests![
    a_grandchild_that_outlives_its_command_is_gone_when_the_action_ends,
    a_time_out_ends_the_whole_tree,
    dropping_the_future_ends_everything,
    killing_bld_ends_everything,
    a_signal_is_a_fate,
    the_command_cannot_end_its_init,
    orphans_are_reaped,
    what_descendants_used_is_counted,
];

/// Starts `sleep` in a session of its own, twice removed, deaf to every signal that can be ignored.
fn hide(marker: &str) -> String {
    format!(
        "(setsid sh -c 'trap \"\" TERM HUP INT QUIT; echo > started; sleep {marker}' & ) & \
         while ! [ -e started ]; do :; done"
    )
}

fn a_grandchild_that_outlives_its_command_is_gone_when_the_action_ends(rung: Rung) {
    let world = World::new(rung);
    let marker = marker();
    world.sh(&hide(&marker)).says();
    assert_eq!(sleepers(&marker), 0);
    world.is_clean();
}

fn a_time_out_ends_the_whole_tree(rung: Rung) {
    let world = World::new(rung);
    let marker = marker();
    let script = format!("{}; echo begun; sleep {marker}", hide(&marker));
    let limits = Limits { time: Duration::from_secs(2), ..Limits::default() };
    let began = Instant::now();
    let ran = world.sh(&script).limits(limits).output("out/none").ran();
    assert!(began.elapsed() < SOON);
    assert_eq!(ran.execution.fate, Fate::TimedOut);
    assert_eq!((ran.exit_code(), ran.stdout.as_str()), (128 + libc::SIGKILL, "begun\n"));
    assert_eq!(sleepers(&marker), 0);
    world.is_clean();
}

fn dropping_the_future_ends_everything(rung: Rung) {
    let world = World::new(rung);
    let marker = marker();
    let case = world.sh(&format!("{}; sleep {marker}", hide(&marker)));
    block_on(async {
        let begun = tokio::task::spawn_blocking({
            let marker = marker.clone();
            move || eventually("both sleep", || sleepers(&marker) == 2)
        });
        tokio::select! {
            ended = case.execute() => panic!("it ended: {ended:?}"),
            begun = begun => begun.unwrap(),
        }
    });
    eventually("nobody sleeps", || sleepers(&marker) == 0);
    world.retire_executor();
    let tmp = world.store.root().join("tmp");
    eventually("nothing is left", || std::fs::read_dir(&tmp).unwrap().next().is_none());
    world.is_clean();
}

fn killing_bld_ends_everything(rung: Rung) {
    let world = World::new(rung);
    let marker = marker();
    let script = format!("{}; sleep {marker}", hide(&marker));
    let mut bld = roles::long_action(rung, &world.outside(), &script).spawn().unwrap();
    eventually("both sleep", || sleepers(&marker) == 2);
    // The one in use and those that wait have a first process and an init each.
    eventually("sandboxes are kept ready", || sandboxes(&world.outside()) > 2);
    bld.kill().unwrap();
    bld.wait().unwrap();
    eventually("nobody sleeps", || sleepers(&marker) == 0);
    eventually("no sandbox waits", || sandboxes(&world.outside()) == 0);
}

/// Returns how many processes on this machine belong to sandboxes that have their files below `folder`.
fn sandboxes(folder: &Path) -> usize {
    let folder = folder.to_str().unwrap().to_owned();
    let cmdline = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).ok();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter_map(cmdline);
    let is_sandbox = |cmdline: &Vec<u8>| {
        let cmdline = String::from_utf8_lossy(cmdline);
        cmdline.starts_with("bld-sandbox\0") && cmdline.contains(&folder)
    };
    processes.filter(is_sandbox).count()
}

fn a_signal_is_a_fate(rung: Rung) {
    let world = World::new(rung);
    let ran = world.sh("kill -SEGV $$").ran();
    assert_eq!(ran.execution.fate, Fate::Signalled(libc::SIGSEGV));
    assert_eq!(ran.exit_code(), 128 + libc::SIGSEGV);
    assert!(!ran.execution.fate.is_repeatable());
}

fn the_command_cannot_end_its_init(rung: Rung) {
    let world = World::new(rung);
    let ran = world.sh("kill -KILL 1; kill -STOP 1; kill -TERM 1; echo still here").ran();
    assert_eq!(ran.stdout, "still here\n");
    assert_eq!(ran.execution.fate, Fate::Exited);
}

fn orphans_are_reaped(rung: Rung) {
    let world = World::new(rung);
    let script = r#"
        for (1 .. 50) { if (!fork) { fork; exit } wait }
        sub zombies { opendir(my $d, '/proc'); grep { open(my $f, '<', "/proc/$_/stat") and <$f> =~ /\) Z 1 / } grep /^\d/, readdir $d }
        select undef, undef, undef, 0.01 while zombies;
        print 'reaped';
    "#;
    assert_eq!(world.perl(script).says(), "reaped");
}

fn what_descendants_used_is_counted(rung: Rung) {
    let world = World::new(rung);
    let spin = "perl -e '1 while times < 0.3'";
    let ran = world.sh(&format!("({spin} &) ; {spin}; {spin}")).ran();
    let cost = ran.execution.result.metadata;
    assert!(cost.cpu >= Duration::from_millis(600), "{cost:?}");
    assert!(cost.wall >= Duration::from_millis(300), "{cost:?}");
}
