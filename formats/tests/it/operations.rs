//! Operations are written as JSON, and nothing that is not one is taken for one.

use formats::{Glob, OnConflict, Operation};
use model::{RelativePath, SymlinkTarget};

fn path(text: &str) -> RelativePath {
    RelativePath::new(text).unwrap()
}

#[test]
fn every_operation_is_read_and_written_as_documented() {
    let merge = |on_conflict, usr_merged| Operation::Merge {
        tree: 0,
        from: path("usr/src/x"),
        to: path("build"),
        on_conflict,
        usr_merged,
    };
    let cases = [
        (
            r#"{"merge":{"tree":0,"from":"usr/src/x","to":"build","on_conflict":"refuse","usr_merged":false}}"#,
            merge(OnConflict::Refuse, false),
        ),
        (
            r#"{"merge":{"tree":0,"from":"usr/src/x","to":"build","on_conflict":"first","usr_merged":true}}"#,
            merge(OnConflict::First, true),
        ),
        (r#"{"usr_merge":{}}"#, Operation::UsrMerge {}),
        (
            r#"{"remove":{"paths":["build/include/config/*","**/x"]}}"#,
            Operation::Remove {
                paths: vec![
                    Glob::new("build/include/config/*").unwrap(),
                    Glob::new("**/x").unwrap(),
                ],
            },
        ),
        (
            r#"{"link":{"path":"usr/bin/awk","target":"mawk"}}"#,
            Operation::Link {
                path: path("usr/bin/awk"),
                target: SymlinkTarget::new("mawk").unwrap(),
            },
        ),
        (
            r#"{"file":{"path":"f","text":"t","executable":true}}"#,
            Operation::File { path: path("f"), text: "t".to_owned(), executable: true },
        ),
        (r#"{"directory":{"path":"tmp"}}"#, Operation::Directory { path: path("tmp") }),
    ];
    for (json, operation) in cases {
        assert_eq!(serde_json::from_str::<Operation>(json).unwrap(), operation);
        assert_eq!(serde_json::to_string(&operation).unwrap(), json);
    }
}

#[test]
fn what_is_left_out_has_a_default() {
    let merge: Operation = serde_json::from_str(r#"{"merge":{"tree":1}}"#).unwrap();
    let root = RelativePath::root();
    let on_conflict = OnConflict::Refuse;
    let expected =
        Operation::Merge { tree: 1, from: root.clone(), to: root, on_conflict, usr_merged: false };
    assert_eq!(merge, expected);
}

#[test]
fn what_is_no_operation_is_refused() {
    let deep = format!(r#"{{"directory":{{"path":"{}d"}}}}"#, "d/".repeat(200));
    for json in [
        r#"{"copy":{}}"#,
        r#""usr_merge""#,
        r#"{"usr_merge":{"x":1}}"#,
        r#"{"merge":{"tree":0,"form":"x"}}"#,
        r#"{"merge":{"tree":-1}}"#,
        r#"{"merge":{"from":"x"}}"#,
        r#"{"merge":{"tree":0,"on_conflict":"both"}}"#,
        r#"{"directory":{"path":"/tmp"}}"#,
        r#"{"directory":{"path":"a/../b"}}"#,
        r#"{"directory":{"path":"tmp/"}}"#,
        r#"{"remove":{"paths":["a//b"]}}"#,
        r#"{"remove":{"paths":["a**"]}}"#,
        r#"{"link":{"path":"x","target":""}}"#,
        r#"{"file":{"path":"x"}}"#,
        &deep,
    ] {
        serde_json::from_str::<Operation>(json).unwrap_err();
    }
}
