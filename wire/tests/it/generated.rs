//! The checked-in code is what the generator makes of `proto/`.

use std::path::Path;

/// Set this in the environment to write the generated code anew.
const WRITE: &str = "BLD_WRITE_GENERATED";

#[test]
fn the_generated_code_is_that_of_the_proto_files() {
    let wire = Path::new(env!("CARGO_MANIFEST_DIR"));
    let proto = wire.join("../proto");
    let files =
        ["build/bazel/remote/execution/v2/remote_execution.proto", "bld/v1/resource_usage.proto"];
    let descriptors = protox::compile(files, [&proto]).unwrap();
    let made = tempfile::tempdir().unwrap();
    let mut config = tonic_prost_build::Config::new();
    config.bytes(["."]);
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .out_dir(made.path())
        .compile_fds_with_config(descriptors, config)
        .unwrap();

    let kept = wire.join("src/generated");
    for package in ["build.bazel.remote.execution.v2.rs", "bld.v1.rs"] {
        let new = std::fs::read_to_string(made.path().join(package)).unwrap();
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(kept.join(package), &new).unwrap();
        }
        let old = std::fs::read_to_string(kept.join(package)).unwrap();
        assert!(old == new, "{package} differs: run the test with {WRITE}=1 and commit the result");
    }
}
