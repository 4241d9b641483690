//! Who depends on something that is shown otherwise makes something else; who does not makes the same.

use std::sync::Arc;
use std::time::SystemTime;

use executor::{Executor as _, Job, Limits, LocalExecutor, Perturbation, Rung, Variation};

use crate::support::{Case, World, block_on};
use crate::tests;

tests![
    nothing_is_shown_otherwise_unless_asked_for,
    another_second_and_other_clocks,
    another_working_directory,
    another_host_name,
    another_user,
    one_processor,
    other_permissions_for_new_files,
    another_language,
    directories_listed_the_other_way_round,
    what_depends_on_nothing_is_the_same_under_all_of_them,
];

/// Runs a command on a perturbed machine and returns what it says.
fn says(world: &World, rung: Rung, case: &Case<'_>, variations: &[Variation]) -> String {
    let perturbation = Perturbation::new(variations.iter().copied(), SystemTime::now());
    let executor = LocalExecutor::new(Arc::clone(&world.store), rung).perturbed(perturbation);
    let action = case.action();
    let job = Job { action: &action, command: &case.command, limits: Limits::default() };
    let execution = block_on(executor.execute(job, &*world.store)).unwrap();
    let result = execution.result;
    assert_eq!(result.exit_code, 0, "{}", world.text(result.stderr));
    world.text(result.stdout)
}

/// Checks that a command says something else under a variation, and that another does not.
fn caught(rung: Rung, variation: Variation, dependent: &str, clean: &str) -> (String, String) {
    let world = World::new(rung);
    let files = [("a.txt", "a"), ("b.txt", "b"), ("c/d.txt", "d"), ("z.txt", "z")];
    let case = |script: &str| world.sh(script).at("src", world.tree(&files));
    let usual = case(dependent).says();
    let other = says(&world, rung, &case(dependent), &[variation]);
    assert_ne!(usual, other, "{dependent}");
    let usual_clean = case(clean).says();
    assert_eq!(usual_clean, says(&world, rung, &case(clean), &[variation]), "{clean}");
    world.is_clean();
    (usual, other)
}

fn nothing_is_shown_otherwise_unless_asked_for(rung: Rung) {
    let world = World::new(rung);
    let case = world
        .sh("set -e; uname -n; id; umask; pwd -P; env; nproc; ls -f /src; cat /etc/passwd /etc/hosts")
        .at("src", world.tree(&[("a", ""), ("b", ""), ("c", "")]));
    assert_eq!(case.says(), says(&world, rung, &case, &[]));
}

fn another_second_and_other_clocks(rung: Rung) {
    let (usual, other) = caught(rung, Variation::Time, "date +%s", "date -r /src/a.txt +%s");
    let seconds = |text: &str| text.trim().parse::<u64>().unwrap();
    assert!(seconds(&other) > seconds(&usual));
}

fn another_working_directory(rung: Rung) {
    let clean = "echo x > /work/out/x; cat out/x; cd /work/out && ls";
    let (usual, other) = caught(rung, Variation::Path, "pwd -P", clean);
    assert_eq!((usual.as_str(), other.as_str()), ("/work\n", "/elsewhere/work\n"));
}

fn another_host_name(rung: Rung) {
    let (usual, other) = caught(rung, Variation::Host, "uname -n; cat /etc/hostname", "uname -s");
    assert_eq!((usual.as_str(), other.as_str()), ("bld\nbld\n", "another-host\nanother-host\n"));
}

fn another_user(rung: Rung) {
    let clean = "echo x > out/x; cat out/x /src/a.txt";
    let (usual, other) = caught(rung, Variation::User, "id -u; id -g; id -un", clean);
    assert_eq!((usual.as_str(), other.as_str()), ("1000\n1000\nbld\n", "4321\n4321\nsomebody\n"));
}

fn one_processor(rung: Rung) {
    let world = World::new(rung);
    let count = |text: String| text.trim().parse::<usize>().unwrap();
    let case = world.sh("nproc");
    assert_eq!(count(says(&world, rung, &case, &[Variation::Cpus])), 1);
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(count(case.says()), cores, "others keep theirs");
}

fn other_permissions_for_new_files(rung: Rung) {
    let dependent = "echo x > out/x; stat -c %a out/x";
    let (usual, other) = caught(rung, Variation::Umask, dependent, "echo x > out/x; cat out/x");
    assert_eq!((usual.as_str(), other.as_str()), ("644\n", "600\n"));
}

fn another_language(rung: Rung) {
    let (_, other) = caught(rung, Variation::Locale, "echo $LC_ALL $LANG", "echo $PATH");
    assert_eq!(other, "fr_CH.UTF-8 fr_CH.UTF-8\n");
}

fn directories_listed_the_other_way_round(rung: Rung) {
    let clean = "ls -R /src; cat /src/*.txt; stat -c '%n %Y %a' /src /src/* /src/c/*";
    let list = "perl -e 'opendir D, \"/src\"; print map {\"$_\\n\"} grep {!/^[.]/} readdir D'";
    let (usual, other) = caught(rung, Variation::Readdir, list, clean);
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let reversed: Vec<_> = lines(&usual).into_iter().rev().collect();
    assert_eq!(lines(&other), reversed);
}

fn what_depends_on_nothing_is_the_same_under_all_of_them(rung: Rung) {
    let world = World::new(rung);
    let script = "mkdir out/d; for it in /src/*; do tr a-z A-Z < $it; done > out/d/x; \
                  ln -s x out/d/y; cat out/d/y; cat /work/lower.txt; wc -l < /etc/passwd";
    let files = [("one", "text of one\n"), ("two", "text of two\n")];
    let case = world
        .sh(script)
        .at("src", world.tree(&files))
        .at("work", world.tree(&[("lower.txt", "below\n")]))
        .output("out/d");
    let usual = case.outcome().unwrap().result.directories;
    let perturbation = Perturbation::new(Variation::ALL, SystemTime::now());
    let executor = LocalExecutor::new(Arc::clone(&world.store), rung).perturbed(perturbation);
    let action = case.action();
    let job = Job { action: &action, command: &case.command, limits: Limits::default() };
    let again = block_on(executor.execute(job, &*world.store)).unwrap();
    assert_eq!(again.result.directories, usual, "{}", world.text(again.result.stderr));
    assert_eq!(world.text(again.result.stdout), case.says());
    drop(executor);
    world.is_clean();
}
