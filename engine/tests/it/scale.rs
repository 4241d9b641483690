//! Size: a large matrix must not make more nodes than there are different things in it.

use engine::Node;

use crate::fixture::Fixture;

/// A driver matrix over so many kernels, in twenty versions and two kinds.
fn matrix(kernels: usize) -> Fixture {
    let text = r#"
//- /BUILD.bld
load("@rules//debian.bzl", "build_root")
load("@rules//files.bzl", "filegroup")
load("@rules//kernel.bzl", "driver_matrix", "kernel_list")
kernel_list(name = "kernels", patterns = ["*"])
build_root(name = "gcc", packages = ["gcc-12"])
VERSIONS = ["%d.0" % n for n in range(20)]
[filegroup(name = "src-" + version, srcs = ["a.c"]) for version in VERSIONS]
driver_matrix(
    name = "echo",
    kernels = ":kernels",
    versions = {version: ":src-" + version for version in VERSIONS},
    roots = {"mod": ":gcc", "bpf": ":gcc"},
    blocklist = "BLOCKLIST",
)
//- /a.c
//- /BLOCKLIST
"#;
    let blocklist: Vec<_> = (0..50).map(|n| format!("7.{n}.* {n}.0\n")).collect();
    let blocklist = blocklist.concat();
    let releases: Vec<String> = (0..kernels).map(|n| format!("6.{n}-amd64")).collect();
    let names: Vec<[String; 3]> = releases
        .iter()
        .map(|it| {
            [
                format!("linux-headers-{it}"),
                format!("linux-headers-{it}-common"),
                format!("linux-kbuild-{it}"),
            ]
        })
        .collect();
    let members: Vec<_> = releases
        .iter()
        .zip(&names)
        .flat_map(|(release, names)| {
            names.iter().map(|name| (release.as_str(), name.as_str(), "1"))
        })
        .collect();
    Fixture::new(&format!("{text}{blocklist}"))
        .with_rules()
        .locking("//:kernels", &members)
        .locking("//:gcc", &[("-", "gcc-12", "12")])
}

#[test]
fn a_large_matrix_has_one_node_for_each_thing_that_differs() {
    let plan = matrix(100).plan(&["//:echo"]).unwrap();
    assert_eq!(plan.goals.len(), 4000);
    let mut counts = [0; 6];
    for id in 0..plan.graph.len() {
        counts[match plan.graph.node(id) {
            Node::Source(_) => 0,
            Node::Locked(_) => 1,
            Node::Write { .. } => 2,
            Node::Tree(_) => 3,
            Node::Run(_) => 4,
            Node::Builtin(_) => 5,
        }] += 1;
    }
    // One source; the packages; the two scripts; they and the sources as trees; the cells; headers and the root.
    assert_eq!(counts, [1, 301, 2, 3, 4000, 101]);
}
