//! What a build remembers, and what it does with it.

use std::io::Write as _;
use std::time::Duration;

use engine::{Changes, Front, Packed, Receipt};
use model::RelativePath;

use crate::workshop::Workshop;

const TEXT: &str = r#"
//- /BUILD.bld
load(':rules.bzl', 'do')
do(name = 'left', srcs = ['left.txt'])
do(name = 'right', srcs = ['right.txt'])
do(name = 'both', srcs = [':left', ':right'])
do(name = 'folder', srcs = ['folder'])
//- /left.txt
left
//- /right.txt
right
//- /folder/file
file
"#;

async fn receipt(workshop: &Workshop) -> Receipt {
    let plan = workshop.plan(&["//..."]).unwrap();
    let report = workshop.build().await;
    let files = vec![1; plan.goals.len()];
    opened(&Receipt::bytes(&front(), &Packed::default(), &plan, &report.goals, &files, &[]))
        .unwrap()
}

/// Returns a receipt as it is read from a file; `None` if it is none.
fn opened(bytes: &[u8]) -> Option<Receipt> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Receipt::open(file)
}

fn front() -> Front {
    Front {
        ended: 1,
        actions: 4,
        cpu: Duration::from_secs(2),
        files: 4,
        is_complete: true,
        has_axes: false,
        rewrites: 0,
    }
}

fn changed(paths: &[&str]) -> Changes {
    let sources = paths.iter().map(|path| RelativePath::new(*path).unwrap()).collect();
    Changes { sources, ..Changes::default() }
}

/// Returns the names of the goals that have to be worked on again.
fn again(receipt: &Receipt, paths: &[&str]) -> String {
    let part = receipt.part(&changed(paths)).unwrap();
    let names: Vec<_> = part.plan.goals.iter().map(|goal| goal.label.name.as_str()).collect();
    assert_eq!(part.files, names.len() as u64);
    assert_eq!(part.numbers.len(), names.len());
    names.join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_goals_that_a_change_reaches_are_worked_on_again() {
    let workshop = Workshop::new(TEXT);
    let receipt = receipt(&workshop).await;
    assert_eq!(again(&receipt, &[]), "");
    assert_eq!(again(&receipt, &["left.txt"]), "both left");
    assert_eq!(again(&receipt, &["right.txt", "left.txt"]), "both left right");
    assert_eq!(again(&receipt, &["folder/file"]), "folder");
    assert_eq!(again(&receipt, &["folder-not"]), "");
    assert_eq!(again(&receipt, &["bld-out/right"]), "right");
    assert_eq!(again(&receipt, &["bld-out/right/below"]), "right");
    assert!(
        receipt
            .part(&Changes { loaded: vec![RelativePath::root()], ..Changes::default() })
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_plan_has_the_same_actions_as_the_whole() {
    let workshop = Workshop::new(TEXT);
    let receipt = receipt(&workshop).await;
    let part = receipt.part(&changed(&["left.txt"])).unwrap();
    let whole = workshop.plan(&["//..."]).unwrap();
    let runs = |plan: &engine::Plan| -> Vec<String> {
        let owner = |node: &engine::Node| {
            let engine::Node::Run(run) = node else { return None };
            Some(run.owner.label.to_string())
        };
        (0..plan.graph.len()).filter_map(|id| owner(plan.graph.node(id))).collect()
    };
    let (mut part, mut whole) = (runs(&part.plan), runs(&whole));
    part.sort();
    whole.sort();
    // `both` needs both others, though only one of them changed.
    assert_eq!(part, ["//:both", "//:left", "//:right"]);
    assert_eq!(whole, ["//:both", "//:folder", "//:left", "//:right"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_new_plan_those_goals_are_settled_that_are_made_as_they_were_from_what_did_not_change()
{
    let receipt = receipt(&Workshop::new(TEXT)).await;
    let left = |text: &str, changes: &Changes| -> String {
        let plan = Workshop::new(text).plan(&["//..."]).unwrap();
        let settled = receipt.settled(&plan, changes).unwrap();
        let left = plan.goals.iter().zip(settled).filter(|(_, it)| it.is_none());
        left.map(|(goal, _)| goal.label.name.as_str()).collect::<Vec<_>>().join(" ")
    };
    let none = Changes::default();
    assert_eq!(left(TEXT, &none), "");
    let more = TEXT.replace("do(name = 'left'", "do(name = 'amid', srcs = [])\ndo(name = 'left'");
    assert_eq!(left(&more, &none), "amid");
    assert_eq!(left(&TEXT.replace("['left.txt']", "['right.txt']"), &none), "both left");
    assert_eq!(left(&TEXT.replace("do(name = 'both'", "do(name = 'each'"), &none), "each");
    let xfail = TEXT.replace("['folder'])", "['folder'], xfail = [{}])");
    assert_eq!(left(&xfail, &none), "folder");
    for (path, names) in
        [("left.txt", "both left"), ("folder", "folder"), ("bld-out/right", "right")]
    {
        let path = vec![RelativePath::new(path).unwrap()];
        assert_eq!(left(TEXT, &Changes { sources: path.clone(), ..Changes::default() }), names);
        assert_eq!(left(TEXT, &Changes { loaded: path, ..Changes::default() }), names);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_part_came_to_is_remembered_with_the_rest() {
    let workshop = Workshop::new(TEXT);
    let receipt = receipt(&workshop).await;
    let (_, outcomes) = receipt.goals().unwrap();
    let part = receipt.part(&changed(&["left.txt"])).unwrap();
    let mut failed: Vec<_> =
        part.numbers.iter().map(|number| outcomes[*number].clone().unwrap()).collect();
    failed[0].status = engine::GoalStatus::Skipped;
    let files = vec![1; failed.len()];
    let renewed = receipt
        .renewed(&front(), &Packed::default(), &part.numbers, &part.plan.goals, &failed, &files)
        .unwrap();
    let renewed = opened(&renewed).unwrap();
    let (goals, after) = renewed.goals().unwrap();
    let open: Vec<_> = goals
        .iter()
        .zip(&after)
        .filter(|(_, it)| it.is_none())
        .map(|(it, _)| it.label.to_string())
        .collect();
    assert_eq!(open, ["//:both"]);
    // What was skipped is worked on again, though nothing changed.
    let part = renewed.part(&Changes::default()).unwrap();
    assert_eq!(part.plan.goals[0].label.to_string(), "//:both");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_is_torn_or_spoiled_is_as_good_as_none() {
    let workshop = Workshop::new(TEXT);
    let bytes = receipt(&workshop).await.seen_again(&Packed::default()).unwrap();
    for length in 0..bytes.len() {
        assert!(opened(&bytes[..length]).is_none(), "{length} bytes");
    }
    for at in 0..bytes.len() {
        let mut spoiled = bytes.clone();
        spoiled[at] ^= 1;
        let Some(receipt) = opened(&spoiled) else { continue };
        assert!(
            receipt.goals().is_none() || receipt.part(&Changes::default()).is_none(),
            "byte {at} does not matter"
        );
    }
}
