//! Restriction lists, compiled from main.cf when the server starts (spec access 1.3, 1.4, 1.8 and 4).
//!
//! Postfix answers a misspelt restriction with `451 4.3.5` for each request that meets it; here it stops the server
//! before a client is served. The results of access tables are lists too, and only met then: in those, trouble is
//! the request's.

use std::collections::HashMap;
use std::sync::Arc;

use config::list::words_with_groups;

use dns::RecordType;

use crate::access::ccert_checks::{self, Fingerprint};
use crate::access::dnsbl::{About, DnsList, Listing};
use crate::access::lists::AccessTable;
use crate::access::policy::PolicyService;
use crate::access::subject::Of;
use crate::access::table::{self, RELAY_PROTECTION, Restriction, Takes};

/// A compiled list.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// The restrictions in order.
    pub entries: Vec<Entry>,
}

/// One restriction of a list.
#[derive(Debug, Clone)]
pub struct Entry {
    /// As written.
    pub word: String,
    /// What it is.
    pub kind: Kind,
}

/// The kinds of entry.
#[derive(Debug, Clone)]
pub enum Kind {
    /// The next entry only warns.
    WarnIfReject,
    /// A restriction of the table.
    Check {
        /// Which.
        restriction: &'static Restriction,
        /// Its argument.
        argument: Argument,
    },
    /// A class of the administrator's own, by its name: classes may name each other in any order.
    Class(String),
    /// A table alone in a class: what looks it up depends on the list that runs the class.
    BareTable(Arc<AccessTable>),
    /// Nothing that can be run, in the result of an access table: what to tell the log when it is met.
    Fault(String),
}

/// The argument of a restriction.
#[derive(Debug, Clone)]
pub enum Argument {
    /// None.
    Nothing,
    /// A table.
    Table(Arc<AccessTable>),
    /// A table of fingerprints, and which it is asked for.
    Fingerprints {
        /// The table.
        table: Arc<AccessTable>,
        /// In this order.
        order: Vec<Fingerprint>,
    },
    /// A policy service.
    Policy(Arc<PolicyService>),
    /// Seconds.
    Seconds(u64),
    /// A table that is asked about the servers of a domain.
    ServerTable {
        /// The table.
        table: Arc<AccessTable>,
        /// Whose domain.
        of: Of,
        /// A, MX or NS.
        server: RecordType,
        /// The restriction, for the log.
        restriction: &'static str,
    },
    /// A list in the DNS.
    DnsList {
        /// Which.
        list: Arc<DnsList>,
        /// What it is asked about.
        about: About,
        /// What being listed leads to.
        listing: Listing,
    },
}

/// Where a list stands.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// In a parameter of its own, with this reply class.
    List(&'static str),
    /// In a restriction class, or in the result of a table: which list it serves shows when it runs.
    Class,
}

/// The classes of `smtpd_restriction_classes`. Each name is there, with an empty list, before any is compiled.
pub type Classes = HashMap<String, Arc<List>>;

/// What a table alone means in a list of this reply class.
pub fn bare_table(class: &str) -> Option<&'static Restriction> {
    let check = match class {
        "Client host" => "check_client_access",
        "Helo command" => "check_helo_access",
        "Sender address" => "check_sender_access",
        "Recipient address" => "check_recipient_access",
        "Etrn command" => "check_etrn_access",
        _ => return None,
    };
    table::find(check)
}

/// The complaint about a table alone where it means nothing.
pub fn bare_table_complaint(class: &str, word: &str) -> String {
    format!(
        "specify one of (check_client_access, check_reverse_client_hostname_access, check_helo_access, \
         check_sender_access, check_recipient_access, check_etrn_access) before {class} restriction \"{word}\""
    )
}

/// Opens what restrictions have as their arguments, once, however often it is named.
pub trait Open {
    /// The table of this name.
    ///
    /// # Errors
    /// The text of a fatal line.
    fn table(&mut self, name: &str) -> Result<Arc<AccessTable>, String>;

    /// The policy service of this text.
    ///
    /// # Errors
    /// The text of a fatal line.
    fn policy(&mut self, text: &str) -> Result<Arc<PolicyService>, String>;
}

/// Compiles one list; the error is the text of a fatal line.
pub fn list(text: &str, place: &Place, classes: &Classes, open: &mut dyn Open) -> Result<List, String> {
    let words: Vec<String> =
        words_with_groups(text.as_bytes()).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let mut entries = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        entries.push(entry(word, &mut words, place, classes, open)?);
    }
    Ok(List { entries })
}

/// Compiles the result of an access table: what is wrong in it matters only when it is met.
pub fn lenient_list(text: &str, place: &Place, classes: &Classes, open: &mut dyn Open) -> List {
    let mut words = words_with_groups(text.as_bytes()).map(|word| String::from_utf8_lossy(word).into_owned());
    let mut entries = Vec::new();
    while let Some(word) = words.next() {
        let compiled = entry(word.clone(), &mut words, place, classes, open);
        entries.push(compiled.unwrap_or_else(|complaint| Entry { word, kind: Kind::Fault(complaint) }));
    }
    List { entries }
}

fn entry(
    word: String,
    rest: &mut impl Iterator<Item = String>,
    place: &Place,
    classes: &Classes,
    open: &mut dyn Open,
) -> Result<Entry, String> {
    if word.eq_ignore_ascii_case("warn_if_reject") {
        return Ok(Entry { word, kind: Kind::WarnIfReject });
    }
    if word.contains(':') {
        let kind = match place {
            Place::Class => Kind::BareTable(open.table(&word)?),
            Place::List(class) => {
                let restriction = bare_table(class).ok_or_else(|| bare_table_complaint(class, &word))?;
                Kind::Check { restriction, argument: Argument::Table(open.table(&word)?) }
            }
        };
        return Ok(Entry { word, kind });
    }
    // Class names keep their case, names of the table do not matter in case (spec access trap 13).
    if classes.contains_key(&word) {
        return Ok(Entry { kind: Kind::Class(word.clone()), word });
    }
    let Some(restriction) = table::find(&word) else {
        return Err(format!("unknown smtpd restriction: \"{word}\""));
    };
    let argument = match restriction.takes {
        Takes::Nothing => Argument::Nothing,
        Takes::Table => Argument::Table(open_argument(&word, rest, open)?),
        Takes::ServerTable(of, server) => Argument::ServerTable {
            table: open_argument(&word, rest, open)?,
            of,
            server,
            restriction: restriction.name,
        },
        Takes::DnsList(about, listing) => {
            let Some(text) = rest.next() else {
                return Err(format!("restriction {word} requires domain name argument"));
            };
            Argument::DnsList { list: Arc::new(DnsList::parse(&text)?), about, listing }
        }
        Takes::Fingerprints => ccert_checks::argument(&rest.next().unwrap_or_default(), open)?,
        Takes::Policy => {
            let text = rest.next().unwrap_or_default();
            if !text.contains(':') {
                return Err("restriction check_policy_service must be followed by transport:server".into());
            }
            Argument::Policy(open.policy(&text)?)
        }
        Takes::Seconds => {
            let number = rest.next().unwrap_or_default();
            let seconds =
                number.parse().map_err(|_| "restriction sleep must be followed by number".to_string())?;
            Argument::Seconds(seconds)
        }
    };
    Ok(Entry { word, kind: Kind::Check { restriction, argument } })
}

fn open_argument(
    word: &str,
    rest: &mut impl Iterator<Item = String>,
    open: &mut dyn Open,
) -> Result<Arc<AccessTable>, String> {
    let spec = rest.next().unwrap_or_default();
    if !spec.contains(':') {
        return Err(format!("restriction {word}: bad argument \"{spec}\": need maptype:mapname"));
    }
    open.table(&spec)
}

impl List {
    /// Whether a working instance of a restriction stands in the list that keeps strangers from relaying.
    pub fn protects_relay(&self, classes: &Classes) -> bool {
        let mut entries = self.entries.iter();
        while let Some(entry) = entries.next() {
            match &entry.kind {
                Kind::WarnIfReject => {
                    entries.next();
                }
                Kind::Fault(_) | Kind::BareTable(_) => {}
                // A permit ends its own list only.
                Kind::Class(name) => {
                    if classes.get(name).is_some_and(|list| list.protects_relay(classes)) {
                        return true;
                    }
                }
                Kind::Check { restriction, .. } if restriction.name == "permit" => {
                    if let Some(next) = entries.next() {
                        log::warn!("restriction `{}' after `{}' is ignored", next.word, entry.word);
                    }
                    return false;
                }
                Kind::Check { restriction, .. } => {
                    if RELAY_PROTECTION.contains(&restriction.name) {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Whether this list contains the class of this name, itself or in one of its classes.
    pub fn leads_to(&self, name: &str, classes: &Classes, seen: &mut Vec<String>) -> bool {
        self.entries.iter().any(|entry| {
            let Kind::Class(class) = &entry.kind else { return false };
            if class == name {
                return true;
            }
            if seen.contains(class) {
                return false;
            }
            seen.push(class.clone());
            classes.get(class).is_some_and(|list| list.leads_to(name, classes, seen))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Classes, List, Place, list};
    use crate::access::lists::OpenTables;
    use crate::access::policy::defaults;

    const PLACE: Place = Place::List("Recipient address");

    fn compiled(text: &str, classes: &Classes) -> Result<List, String> {
        list(text, &PLACE, classes, &mut OpenTables::new(false, defaults()))
    }

    #[test]
    fn protection() {
        let mut classes = Classes::new();
        classes.insert(
            "mine".into(),
            Arc::new(compiled("permit_mynetworks, reject", &Classes::new()).expect("compiles")),
        );
        for (text, protects) in [
            ("", false),
            ("permit_mynetworks", false),
            ("permit_mynetworks, reject_unauth_destination", true),
            ("permit_mynetworks Reject", true),
            ("permit reject", false),
            ("warn_if_reject reject", false),
            ("warn_if_reject reject defer", true),
            ("mine", true),
        ] {
            assert_eq!(
                compiled(text, &classes).expect("compiles").protects_relay(&classes),
                protects,
                "{text}"
            );
        }
    }

    #[test]
    fn complaints() {
        for (text, complaint) in [
            ("nosuchthing", "unknown smtpd restriction: \"nosuchthing\""),
            ("reject_rbl_client", "restriction reject_rbl_client requires domain name argument"),
            ("reject_rbl_client x=1", "RBL reply error: need \".\" at \"1><\""),
            (
                "check_client_access foo",
                "restriction check_client_access: bad argument \"foo\": need maptype:mapname",
            ),
            ("sleep", "restriction sleep must be followed by number"),
        ] {
            assert_eq!(compiled(text, &Classes::new()).expect_err("refused"), complaint);
        }
    }
}
