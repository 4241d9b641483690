//! The one mouth: REAPI messages and their canonical encoding.
//!
//! [`encode`] is the only maker of bytes that are hashed; [`decode`] turns bytes from outside into model values.

pub mod decode;
pub mod encode;

/// The generated messages. Only this crate and files called `grpc.rs` or `remote.rs` may name them.
#[expect(missing_docs, clippy::pedantic, reason = "generated code; the comments stand in proto/")]
pub mod proto {
    /// `build.bazel.remote.execution.v2`.
    pub mod reapi {
        include!("generated/build.bazel.remote.execution.v2.rs");
    }
    /// `bld.v1`.
    pub mod bld {
        include!("generated/bld.v1.rs");
    }
}
