//! What addresses stand for: pushed by those who are believed, or fetched from where that is allowed.

mod download;
mod fetch;
mod integrity;
mod name;
mod push;
mod qualifiers;

pub use download::Origins;
pub(crate) use fetch::FetchService;
pub(crate) use push::PushService;
