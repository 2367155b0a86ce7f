//! What becomes of an address on its way through cleanup.

pub mod masquerade;
pub mod rewrite;
