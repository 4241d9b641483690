//! The one mouth: REAPI messages and their canonical encoding.
//!
//! [`encode`] is the only maker of bytes that are hashed; [`decode`] turns bytes from outside into model values.

pub mod asset;
pub mod decode;
pub mod details;
pub mod elements;
pub mod encode;
mod fields;
mod generated;
pub mod json;
pub mod kept;
pub mod references;
pub mod request;

/// The generated messages and services. Only this crate and files called `grpc.rs` or `remote.rs` may name them.
pub mod proto {
    pub use crate::generated::bld::v1 as bld;
    pub use crate::generated::build::bazel::remote::asset::v1 as asset;
    pub use crate::generated::build::bazel::remote::execution::v2 as reapi;
    pub use crate::generated::build::bazel::semver;
    pub use crate::generated::google::{bytestream, rpc};
}

/// The encoded `FileDescriptorSet` of all of `proto/`, for whoever asks a server what it speaks.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");
