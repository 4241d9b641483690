//! What happens meanwhile, for whoever shows it.

/// Hears what is going on. Nothing depends on what it does with it.
pub trait Progress: Send + Sync {
    /// Hears that something begins; `total` is how many bytes it will be, if that is known.
    fn begin(&self, what: &str, total: Option<u64>) -> Box<dyn Step>;
    /// Hears of something that may surprise.
    fn warn(&self, text: &str);
    /// Hears of something worth knowing.
    fn note(&self, text: &str);
}

/// Something that goes on; it ends when this is dropped.
pub trait Step: Send {
    /// Hears what is done now: `download`, `verify` or `unpack`.
    fn phase(&self, name: &'static str);
    /// Hears that so many more bytes are there.
    fn advance(&self, bytes: u64);
}

/// A progress that nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _what: &str, _total: Option<u64>) -> Box<dyn Step> {
        Box::new(Self)
    }

    fn warn(&self, _text: &str) {}

    fn note(&self, _text: &str) {}
}

impl Step for Silent {
    fn phase(&self, _name: &'static str) {}

    fn advance(&self, _bytes: u64) {}
}
