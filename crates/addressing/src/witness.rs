//! What the chain has to tell of: steps, and what is wrong.

use lookup::list::ListError;

/// What is wrong. The first four have the message not accepted, as what stands in tables may be right later.
#[derive(Debug)]
pub enum Fault<'a> {
    /// A table of `masquerade_exceptions` could not tell.
    Exceptions(&'a ListError),
    /// A table of this parameter could not, for this address; it has said why.
    Table {
        /// The parameter.
        parameter: &'a str,
        /// The address.
        address: &'a [u8],
    },
    /// The same while a recipient was expanded.
    Alias {
        /// The parameter.
        parameter: &'a str,
        /// The address.
        address: &'a [u8],
    },
    /// A table of BCC recipients could not tell.
    Bcc {
        /// The parameter.
        parameter: &'a str,
    },
    /// A recipient has no end, or too long a one: the message is not accepted.
    Unreasonable {
        /// The parameter.
        parameter: &'a str,
        /// What is not reasonable.
        what: &'a str,
    },
    /// Tables go round in circles. The message is accepted all the same (observed, 3.7.11).
    Circle {
        /// The parameter.
        parameter: &'a str,
        /// Where they stopped.
        address: &'a [u8],
    },
    /// Several addresses where one has a place: the first counts.
    SeveralResults {
        /// The parameter.
        parameter: &'a str,
        /// The address that was looked up.
        address: &'a [u8],
    },
}

/// Other addresses in an address's place.
#[derive(Debug)]
pub struct Step<'a> {
    /// A parameter, or `rewrite`.
    pub what: &'a str,
    /// The address before.
    pub from: &'a [u8],
    /// Those that stand for it now; for aliases it may be among them.
    pub to: &'a [Vec<u8>],
}

/// Hears what the chain has to tell.
pub trait Witness {
    /// Something is wrong.
    fn fault(&mut self, fault: &Fault<'_>);

    /// A step was taken. Few want to know.
    fn step(&mut self, _: &Step<'_>) {}
}
