//! Bazel over gRPC, as Debian packages it (`bazel-bootstrap` 4.2): builds, forgets all, and finds everything.

use std::fs;
use std::path::Path;

use super::{run, start};

/// Eight actions; one of them makes more than fits into a batch, one nothing.
const BUILD: &str = r#"
[genrule(
    name = "part%d" % n,
    outs = ["part%d.txt" % n],
    cmd = "for i in $$(seq 2000); do echo line $$i of %d; done > $@" % n,
) for n in range(6)]
genrule(name = "large", outs = ["large.bin"], cmd = "seq 1000000 > $@")
genrule(
    name = "everything",
    srcs = [":part%d" % n for n in range(6)] + [":large"],
    outs = ["all.txt", "none.txt"],
    cmd = "cat $(SRCS) > $(location all.txt); : > $(location none.txt)",
)
"#;

async fn build(workspace: &Path, output: &Path, address: &str) -> String {
    let (output, cache) = (output.display(), format!("--remote_cache=grpc://{address}"));
    let root = format!("--output_user_root={output}");
    let project = "--remote_instance_name=some/project";
    let plain = ["--noshow_progress", "--color=no", "--curses=no"];
    let mut arguments = vec![root.as_str(), "--batch", "build", cache.as_str(), project];
    arguments.extend(plain);
    arguments.push("//:all");
    run(workspace, "bazel", &arguments).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bazel_finds_everything_that_it_built_before() {
    let (_server, address) = start().await;
    let workspace = tempfile::tempdir().unwrap();
    fs::write(workspace.path().join("WORKSPACE"), "").unwrap();
    fs::write(workspace.path().join("BUILD"), BUILD).unwrap();
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());

    let said = build(workspace.path(), first.path(), &address).await;
    assert!(!said.contains("remote cache hit"), "{said}");
    let made = fs::read(workspace.path().join("bazel-bin/all.txt")).unwrap();

    let said = build(workspace.path(), second.path(), &address).await;
    assert!(said.contains("8 remote cache hit"), "{said}");
    assert_eq!(fs::read(workspace.path().join("bazel-bin/all.txt")).unwrap(), made);
    assert!(!said.contains("WARNING: Remote Cache"), "{said}");
}
