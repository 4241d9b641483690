//! Large blobs: piece by piece, taken up where they broke off.

mod download;
mod name;
mod packing;
mod ranged;
mod remote;
mod source;
mod upload;

pub(super) use download::Download;
pub(super) use ranged::RemoteBlob;
pub(super) use upload::upload;
