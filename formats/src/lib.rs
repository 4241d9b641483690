//! The crafts: archives become trees, trees become other trees.
//!
//! Everything here is a pure function of its arguments; trees are made only through the store.

mod ar;
mod assembly;
mod codec;
mod compose;
mod conflict;
mod deb;
pub mod difference;
mod error;
mod glob;
mod gzip;
pub mod limits;
mod merge;
mod operation;
mod pax;
mod tarball;
mod unpack;
mod zipdirectory;
mod zipfile;

pub use codec::{Codec, Decoder, decompress};
pub use compose::{COMPOSE_VERSION, compose};
pub use conflict::{ComposeError, ComposeFault, Conflict, Origin, Side};
pub use error::{Fault, UnpackError};
pub use glob::{Glob, InvalidGlob};
pub use gzip::{GzipWriter, gzip};
pub use limits::Limits;
pub use operation::{OnConflict, Operation};
pub use unpack::{Kind, LinkPolicy, UNPACK_RULES_VERSION, Unpack};
