//! What a message is while it is handed on: envelope, where it comes from, pieces of content, refusals.

pub mod content;
pub mod envelope;
pub mod origin;
pub mod refusal;
pub mod source;
