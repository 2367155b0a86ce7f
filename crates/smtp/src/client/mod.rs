//! The client's side of a conversation: where to connect, replies, EHLO features, XFORWARD.
//!
//! Shape: [`Endpoint`] is an address as main.cf writes it; [`Conversation`] sends a command and reads its reply;
//! [`ReplyAssembler`] is the part of that without I/O. What a peer does wrong but Postfix tolerates comes out as
//! an [`Irregularity`], because who logs it and how differs between the before-queue filter (spec smtpd 4.5) and
//! the delivery agents (spec smtp-client 6.1).

mod conversation;
mod endpoint;
mod features;
mod xforward;

pub use conversation::{Conversation, Irregularity, ReplyAssembler, ReplyLimits, parse_reply};
pub use endpoint::{BadEndpoint, ConnectError, Endpoint, Families, Socket};
pub use features::Features;
pub use xforward::{Attribute, Attributes, XforwardLines};
