//! Mail that the server itself makes: notices to the postmaster, bounces; and the transcript that notices show.

pub mod bounce;
pub mod message;
pub mod notice;
pub mod transcript;
