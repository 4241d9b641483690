//! What an action leaves behind on the machine: nothing.

use std::fs;
use std::time::Duration;

use executor::{Limits, Rung};

use crate::roles;
use crate::support::{World, walk};
use crate::tests;

tests![
    no_mount_and_no_scratch_is_left,
    a_hundred_actions_leave_no_control_group,
    what_a_command_nested_without_end_is_removed,
    what_a_command_locked_away_is_removed,
    sixteen_actions_at_once_do_not_disturb_one_another,
];

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

fn no_mount_and_no_scratch_is_left(rung: Rung) {
    let world = World::new(rung);
    let before = mounts();
    let work = world.tree(&[("a/b", "b")]);
    world.sh("echo x > a/b/c 2>/dev/null; echo x > a/c").at("work", work.clone()).says();
    world.is_clean();
    world.sh("exit 1").at("work", work.clone()).ran();
    world.is_clean();
    let limits = Limits { time: Duration::from_millis(100), ..Limits::default() };
    world.sh("sleep 1000").at("work", work.clone()).limits(limits).ran();
    world.is_clean();
    world.sh("mkfifo out/a").at("work", work).output("out/a").refusal();
    world.is_clean();
    assert_eq!(mounts(), before);
}

fn a_hundred_actions_leave_no_control_group(rung: Rung) {
    let world = World::new(rung);
    // Alone in a process of its own, whose id the names of its groups carry.
    let mut bld = roles::many_actions(rung, &world.outside()).spawn().unwrap();
    let prefix = format!("bld-{}-", bld.id());
    assert!(bld.wait().unwrap().success());
    let groups = walk("/sys/fs/cgroup".as_ref());
    let left: Vec<_> = groups
        .into_iter()
        .filter(|it| it.file_name().unwrap().to_string_lossy().starts_with(&prefix))
        .collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
}

fn what_a_command_nested_without_end_is_removed(rung: Rung) {
    let world = World::new(rung);
    // Deep enough for a recursion to fill its stack, and for paths to be too long many times over.
    let script = r#"for my $top ("/work", "/work/out") { chdir $top; for (1 .. 6000) { mkdir "d" or die; chdir "d" or die } }"#;
    world.perl(script).says();
    world.is_clean();
}

fn what_a_command_locked_away_is_removed(rung: Rung) {
    let world = World::new(rung);
    let work = world.tree(&[("a/b", "b")]);
    let script = "mkdir -p x/y out/x/y; echo z > x/y/z; chmod 000 x/y x a out/x/y out/x out .";
    world.sh(script).at("work", work).says();
    world.is_clean();
}

fn sixteen_actions_at_once_do_not_disturb_one_another(rung: Rung) {
    let world = World::new(rung);
    let work = world.tree(&[("same", "same\n")]);
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (world, work) = (&world, work.clone());
            scope.spawn(move || {
                let script = format!(
                    "cat same; chmod u+w same; echo {number} > same; echo {number} > /tmp/same; echo {number} > out/same; cat same /tmp/same"
                );
                let ran = world.sh(&script).at("work", work).output("out/same").ran();
                assert_eq!(ran.stdout, format!("same\n{number}\n{number}\n"), "{}", ran.stderr);
                let made = ran.execution.result.files[0].digest;
                assert_eq!(world.text(Some(made)), format!("{number}\n"));
            });
        }
    });
    world.is_clean();
}
