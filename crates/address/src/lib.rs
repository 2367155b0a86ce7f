//! Mail addresses and domain names: external (quoted) and internal forms, RFC 5321 paths.
//!
//! The *internal* form of an address is its meaning: `al ice@example.com`. The *external* form is how it is
//! written in SMTP, in headers and in most log lines: `"al ice"@example.com`. [`Mailbox`] is an address in
//! internal form; [`external`] and [`internal`] convert plain bytes.
//!
//! ```
//! assert_eq!(address::external(b"al ice@example.com"), b"\"al ice\"@example.com");
//! assert_eq!(address::internal(b"\"al ice\"@example.com"), b"al ice@example.com");
//! assert!(address::DomainName::check(b"mail.example.com").is_ok());
//! ```
//!
//! [`token`] is the scanner under all of it: the rewriting service works on its flat token lists, [`header`]
//! makes the address lists of message headers out of them, and [`path`] the argument of MAIL and RCPT.

#![forbid(unsafe_code)]

mod domain;
mod fold;
mod literal;
mod mailbox;
mod quoting;
mod verp;

pub mod header;
pub mod path;
pub mod token;

pub use domain::{DomainName, DomainNameError};
pub use fold::{fold, folded};
pub use literal::{
    AddressLiteral, HostAddressError, check_host_address, host_address, ipv4_address, ipv6_address,
};
pub use mailbox::Mailbox;
pub use path::{ForwardPath, PathError, ReversePath};
pub use quoting::{envelope_form, external, internal};
pub use verp::verp_sender;

/// Entry for fuzzing: parses `input` as header addresses and as a path, and writes it again in every form.
///
/// Never panics, whatever the bytes.
pub fn parse_any(input: &[u8]) {
    let list = header::AddressList::parse(input, header::DEFAULT_TOKEN_LIMIT);
    let _ = list.external_members();
    let _ = list.addresses().map(token::internal).collect::<Vec<_>>();
    let _ = external(&internal(input));
    let _ = ForwardPath::parse(input, path::Strictness::Strict);
    let _ = ReversePath::parse(input, path::Strictness::Lenient);
    let _ = Mailbox::from_internal(input).domain().map(DomainName::check);
    let _ = DomainName::to_ascii(input);
    let _ = host_address(input);
}
