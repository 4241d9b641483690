//! Sizes in bytes, as people write and read them.

pub(crate) use model::ByteSize;
