//! Fakes, promises and faults, for tests only.
