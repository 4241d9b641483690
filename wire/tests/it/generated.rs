//! The checked-in code is what the generator makes of `proto/`.

use std::path::Path;

use prost::Message as _;

/// Set this in the environment to write the generated code anew.
const WRITE: &str = "BLD_WRITE_GENERATED";

/// What is compiled; what these import comes along.
const FILES: [&str; 9] = [
    "bld/v1/asset.proto",
    "bld/v1/cache.proto",
    "bld/v1/kept_body.proto",
    "bld/v1/ledger.proto",
    "bld/v1/resource_usage.proto",
    "build/bazel/remote/asset/v1/remote_asset.proto",
    "build/bazel/remote/execution/v2/remote_execution.proto",
    "google/bytestream/bytestream.proto",
    "google/rpc/error_details.proto",
];

#[test]
fn the_generated_code_is_that_of_the_proto_files() {
    let wire = Path::new(env!("CARGO_MANIFEST_DIR"));
    let proto = wire.join("../proto");
    let descriptors = protox::compile(FILES, [&proto]).unwrap();
    let encoded = descriptors.encode_to_vec();
    let made = tempfile::tempdir().unwrap();
    let mut config = tonic_prost_build::Config::new();
    config.bytes(["."]);
    tonic_prost_build::configure()
        .build_transport(false)
        .out_dir(made.path())
        .compile_fds_with_config(descriptors, config)
        .unwrap();
    std::fs::write(made.path().join("descriptors.bin"), encoded).unwrap();

    let kept = wire.join("src/generated");
    for file in std::fs::read_dir(made.path()).unwrap() {
        let name = file.unwrap().file_name();
        let new = std::fs::read(made.path().join(&name)).unwrap();
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(kept.join(&name), &new).unwrap();
        }
        let old = std::fs::read(kept.join(&name)).unwrap_or_default();
        let name = name.display();
        assert!(old == new, "{name} differs: run the test with {WRITE}=1 and commit the result");
    }
}
