//! What aliases, `.forward` and `:include:` files say: where the mail of a name goes.
//!
//! [`parse`] reads a line into [`Destination`]s, [`Localpart`] splits the name that the mail is for, and [`Values`] are the macros
//! of `forward_path` and its kin. Nothing is opened, run or asked here. Source: spec local-delivery 2, 5 and 7.1.
//!
//! ```
//! use destinations::{Destination, parse};
//! let found = parse(b"joe, \"|/bin/vacation joe\", ~/Mail/ (copy), :include:/etc/list");
//! assert_eq!(found[0], Destination::Address(b"joe".to_vec()));
//! assert_eq!(found[1], Destination::Command(b"/bin/vacation joe".to_vec()));
//! assert_eq!(found[2], Destination::HomeFile(b"~/Mail/".to_vec()));
//! assert_eq!(found[3], Destination::Include(b"/etc/list".to_vec()));
//! ```

#![forbid(unsafe_code)]

mod destination;
mod localpart;
mod macros;

pub use destination::{Destination, parse};
pub use localpart::Localpart;
pub use macros::{Expanded, Values};

/// Entry for fuzzing: reads `input` as a list and as a name with an extension, and expands it.
///
/// Never panics, whatever the bytes.
pub fn parse_any(input: &[u8]) {
    let _ = parse(input);
    let delimiter = lookup::Delimiter { set: b"+-".to_vec(), ..lookup::Delimiter::default() };
    let localpart = Localpart::split(input, &delimiter);
    let values = Values {
        localpart: &localpart,
        recipient: input,
        first_delimiter: Some(b'+'),
        home: Some(input),
        shell: None,
    };
    let _ = values.expand(input, Some(b"abc/"));
}
