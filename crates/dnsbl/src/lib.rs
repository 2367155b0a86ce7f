//! DNS block lists and allow lists, as far as they are the same for all that ask them (spec access 7.1).
//!
//! A list is a domain, and perhaps a pattern: `bl.example=127.0.0.[2;4..6]`. It is asked for an address or a name, and
//! lists it when there is an A record that the pattern matches. A text that is no pattern is kept with its fault: what
//! that leads to is the asker's affair, and so are the asking itself and what an answer is worth.
//!
//! ```
//! let list = dnsbl::DnsList::parse("bl.example=127.0.0.[2;4..6]");
//! let address = "192.0.2.1".parse().unwrap();
//! assert_eq!(list.name_of_address(address), "1.2.0.192.bl.example");
//! assert_eq!(list.counts(&["127.0.0.5".parse().unwrap()]), Ok(true));
//! ```

#![forbid(unsafe_code)]

mod list;
mod pattern;

pub use list::DnsList;
pub use pattern::Pattern;
