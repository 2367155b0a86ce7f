//! The mail of a session on its way: into the queue by way of cleanup, or to the content filter.

pub mod destination;
pub mod handover;
pub mod received;
pub mod receiving;
