//! The table of commands: who runs each, and what holds for it.

use bitflags::bitflags;
use smtp::command::Token;

use crate::session::statistics::Verb;
use crate::session::{Handled, Session};
use crate::verb::{
    auth, bdat, data, etrn, helo, help, mail, noop, quit, rcpt, rset, tls, vrfy, xclient, xforward,
};

bitflags! {
    /// What holds for a command.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Flags: u8 {
        /// Too many of it count as errors.
        const JUNK = 1;
        /// It looks something up, or opens something.
        const WORK = 2;
        /// An ESMTP client has to wait for the reply before it sends more (RFC 2920).
        const ENDS_GROUP = 4;
        /// It runs without TLS where TLS is required.
        const BEFORE_TLS = 8;
    }
}

/// Runs a command; what it gets is the line as the client sent it, and its words.
pub(crate) type Handler = fn(&mut Session<'_, '_>, &[u8], &[Token]) -> Handled;

/// One command.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its name.
    pub verb: Verb,
    /// Who runs it.
    pub run: Handler,
    /// What holds for it.
    pub flags: Flags,
}

const fn row(verb: Verb, run: Handler, flags: &[Flags]) -> Row {
    let (mut all, mut at) = (Flags::empty(), 0);
    while at < flags.len() {
        all = all.union(flags[at]);
        at += 1;
    }
    Row { verb, run, flags: all }
}

const JUNK: Flags = Flags::JUNK;
const WORK: Flags = Flags::WORK;
const ENDS_GROUP: Flags = Flags::ENDS_GROUP;
const BEFORE_TLS: Flags = Flags::BEFORE_TLS;

/// Every command there is, in the order of [`Verb`].
static ROWS: [Row; 16] = [
    row(Verb::Helo, helo::helo, &[JUNK, WORK, ENDS_GROUP, BEFORE_TLS]),
    row(Verb::Ehlo, helo::ehlo, &[JUNK, WORK, ENDS_GROUP, BEFORE_TLS]),
    row(Verb::Xclient, xclient::xclient, &[WORK, BEFORE_TLS]),
    row(Verb::Xforward, xforward::xforward, &[WORK]),
    row(Verb::Starttls, tls::starttls, &[BEFORE_TLS]),
    row(Verb::Auth, auth::auth, &[WORK]),
    row(Verb::Mail, mail::mail, &[WORK]),
    row(Verb::Rcpt, rcpt::rcpt, &[WORK]),
    row(Verb::Data, data::data, &[WORK, ENDS_GROUP]),
    row(Verb::Bdat, bdat::bdat, &[WORK]),
    row(Verb::Rset, rset::rset, &[JUNK]),
    row(Verb::Noop, noop::noop, &[JUNK, ENDS_GROUP, BEFORE_TLS]),
    row(Verb::Vrfy, vrfy::vrfy, &[JUNK, WORK, ENDS_GROUP]),
    row(Verb::Etrn, etrn::etrn, &[JUNK, WORK]),
    row(Verb::Quit, quit::quit, &[BEFORE_TLS]),
    row(Verb::Help, help::help, &[BEFORE_TLS]),
];

/// The row of a command; [`Verb::Unknown`] has none.
pub(crate) fn find(verb: Verb) -> Option<&'static Row> {
    ROWS.get(verb as usize)
}

#[cfg(test)]
mod tests {
    use super::{ROWS, Verb, find};

    #[test]
    fn each_command_has_its_row() {
        for (place, row) in ROWS.iter().enumerate() {
            assert_eq!((row.verb as usize, Verb::named(row.verb.stage().as_bytes())), (place, row.verb));
        }
        assert!(find(Verb::Unknown).is_none());
    }
}
