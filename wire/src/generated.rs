//! What is generated from `proto/`, nested as its packages are.
#![expect(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::allow_attributes,
    reason = "generated code; the comments stand in proto/"
)]

pub mod bld {
    pub mod v1 {
        include!("generated/bld.v1.rs");
    }
}

pub mod build {
    pub mod bazel {
        pub mod semver {
            include!("generated/build.bazel.semver.rs");
        }
        pub mod remote {
            pub mod asset {
                pub mod v1 {
                    include!("generated/build.bazel.remote.asset.v1.rs");
                }
            }
            pub mod execution {
                pub mod v2 {
                    include!("generated/build.bazel.remote.execution.v2.rs");
                }
            }
        }
    }
}

pub mod google {
    pub mod bytestream {
        include!("generated/google.bytestream.rs");
    }
    pub mod rpc {
        include!("generated/google.rpc.rs");
    }
}
