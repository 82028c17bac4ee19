//! The embedded on-disk store.
