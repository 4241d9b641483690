//! Two machines: other folders, another user, an empty store each; the same results.

use std::collections::BTreeMap;

use crate::base::base;
use crate::machine::Machine;

/// A user that no `/etc/passwd` knows.
const SOMEBODY: u32 = 12345;

/// Returns the digest of each action, by whose it is.
fn actions(machine: &Machine) -> BTreeMap<String, String> {
    let log = machine.run(&["log", "//drivers/...", "--json"]).expect(0).json();
    let text = |run: &serde_json::Value, key: &str| run[key].as_str().unwrap().to_owned();
    let runs = log.as_array().unwrap().iter();
    runs.map(|run| (text(run, "name"), text(run, "action"))).collect()
}

#[test]
fn two_machines_with_different_users_folders_and_job_counts_make_the_same_bytes_under_the_same_names()
 {
    let kernels = base().kernels();
    let pattern = format!("//drivers:echo{{kernel={}}}", kernels.last().unwrap());
    let mut results = Vec::new();
    let (ours, theirs) = (Machine::drivers(), Machine::of_user(SOMEBODY).with_drivers());
    for (machine, jobs) in [(ours, "1"), (theirs, "3")] {
        let built = machine.run(&["build", &pattern, "--jobs", jobs, "--json"]).expect(0).json();
        assert_eq!(built["summary"]["hits"], 0, "{built:#}");
        results.push((machine.outputs(), actions(&machine)));
        machine.run(&["cache", "verify"]).expect(0);
        machine.assert_nothing_is_left();
    }
    let (ours, theirs) = (&results[0], &results[1]);
    assert_eq!(ours.0.len(), 3, "two probes and a module; the other is blocked");
    let names = |it: &Vec<(String, Vec<u8>)>| -> Vec<String> {
        it.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&ours.0), names(&theirs.0));
    assert!(ours.0 == theirs.0, "outputs differ");
    // Two roots, one header tree, three cells.
    assert_eq!(ours.1.len(), 6);
    assert_eq!(ours.1, theirs.1);
}
