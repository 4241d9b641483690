//! Watches requests of every protocol: counts them, logs how they went, keeps those that were slow or failed, and traces them.

mod body;
mod layer;
mod metadata;
mod observed;
mod observer;
mod parent;
mod recent;

pub use body::{Received, Sent};
pub use layer::{Observe, Observing, SPAN_TARGET};
pub use observed::Observed;
pub use observer::{LOG_TARGET, Observer};
pub use recent::{RECENT_MAX, Recent, Remark};

/// Returns the longest beginning of a text that has at most so many bytes.
fn beginning(text: &str, bytes_max: usize) -> &str {
    let ends = text.char_indices().map(|(at, it)| at + it.len_utf8());
    let end = ends.take_while(|end| *end <= bytes_max).last();
    &text[..end.unwrap_or(0)]
}
