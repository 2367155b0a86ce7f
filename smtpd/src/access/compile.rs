//! Restriction lists, compiled from main.cf when the server starts (spec access 1.3, 1.4, 1.8 and 4).
//!
//! Postfix answers a misspelt restriction with `451 4.3.5` for each request that meets it; here it stops the server
//! before a client is served. The results of access tables are lists too, and only met then: in those, trouble is
//! the request's.

use std::collections::HashMap;
use std::sync::Arc;

use config::list::words_with_groups;

use dns::RecordType;

use crate::access::ccert_checks::Fingerprint;
use crate::access::dnsbl::{About, DnsList, Listing};
use crate::access::lists::AccessTable;
use crate::access::policy::PolicyService;
use crate::access::subject::Of;
use crate::access::table::{self, RELAY_PROTECTION, Restriction, Takes};

/// Longest rest of `sleep`, in seconds.
const SLEEP_LIMIT: u64 = 0x7fff_ffff;

/// A compiled list.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// The restrictions in order.
    pub entries: Vec<Entry>,
    /// As written.
    words: Vec<String>,
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
    /// Nothing that can be run: what to tell the log when it is met.
    Fault(String),
    /// The same, but the request goes on (observed of DNS lists without a domain).
    Idle(String),
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
    /// The table of this name. One that is not there is a table of which every look-up fails.
    fn table(&mut self, name: &str) -> Arc<AccessTable>;

    /// The table of `check_ccert_access`, and which fingerprints it is asked for.
    fn fingerprints(&mut self, text: &str) -> Result<Argument, String>;

    /// The policy service of this text.
    ///
    /// # Errors
    /// The text of a fatal line.
    fn policy(&mut self, text: &str) -> Result<Arc<PolicyService>, String>;
}

/// Opens everything that the words of a list name, whether the list makes sense or not: in Postfix's order, and with
/// its warnings.
///
/// # Errors
/// The text of a fatal line: a policy service that cannot be read.
pub fn open_all(text: &str, open: &mut dyn Open) -> Result<(), String> {
    let mut words = words_with_groups(text.as_bytes()).map(String::from_utf8_lossy);
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case("check_policy_service") {
            if let Some(service) = words.next() {
                open.policy(&service)?;
            }
        } else if word.starts_with('{') {
            // Whatever stands before it.
            if let Err(complaint) = open.fingerprints(&word) {
                for line in complaint.lines() {
                    log::warn!("{line}");
                }
            }
        } else if word.contains(':') {
            open.table(&word);
        }
    }
    Ok(())
}

/// Compiles one list: of a parameter, or the result of an access table.
pub fn list(text: &str, place: &Place, classes: &Classes, open: &mut dyn Open) -> List {
    let words: Vec<String> =
        words_with_groups(text.as_bytes()).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let mut rest = words.iter().cloned();
    let mut entries = Vec::new();
    while let Some(word) = rest.next() {
        let kind = entry(&word, &mut rest, place, classes, open).unwrap_or_else(Kind::Fault);
        entries.push(Entry { word, kind });
    }
    List { entries, words }
}

fn entry(
    word: &str,
    rest: &mut impl Iterator<Item = String>,
    place: &Place,
    classes: &Classes,
    open: &mut dyn Open,
) -> Result<Kind, String> {
    if word.eq_ignore_ascii_case("warn_if_reject") {
        return Ok(Kind::WarnIfReject);
    }
    if word.contains(':') {
        return Ok(match place {
            Place::Class => Kind::BareTable(open.table(word)),
            Place::List(class) => {
                let restriction = bare_table(class).ok_or_else(|| bare_table_complaint(class, word))?;
                Kind::Check { restriction, argument: Argument::Table(open.table(word)) }
            }
        });
    }
    // Class names keep their case, names of the table do not matter in case (trap 13).
    if classes.contains_key(word) {
        return Ok(Kind::Class(word.to_string()));
    }
    let Some(restriction) = table::find(word) else {
        return Err(format!("unknown smtpd restriction: \"{word}\""));
    };
    let argument = match restriction.takes {
        Takes::Nothing => Argument::Nothing,
        Takes::Table => Argument::Table(open.table(&table_name(word, rest)?)),
        Takes::ServerTable(of, server) => Argument::ServerTable {
            table: open.table(&table_name(word, rest)?),
            of,
            server,
            restriction: restriction.name,
        },
        Takes::DnsList(about, listing) => {
            let Some(text) = rest.next() else {
                return Ok(Kind::Idle(format!("restriction {word} requires domain name argument")));
            };
            Argument::DnsList { list: Arc::new(DnsList::parse(&text)), about, listing }
        }
        Takes::Fingerprints => {
            let spec = table_name(word, rest)?;
            // The cause was told at start.
            let see = |_| format!("See earlier parsing error messages for '{spec}");
            open.fingerprints(&spec).map_err(see)?
        }
        Takes::Policy => {
            let text = rest.next().unwrap_or_default();
            if !text.contains(':') {
                return Err("restriction check_policy_service must be followed by transport:server".into());
            }
            Argument::Policy(open.policy(&text)?)
        }
        Takes::Seconds => {
            let number = rest.next().unwrap_or_default();
            if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err("restriction sleep must be followed by number".into());
            }
            Argument::Seconds(number.parse().unwrap_or(SLEEP_LIMIT).min(SLEEP_LIMIT))
        }
    };
    Ok(Kind::Check { restriction, argument })
}

/// What follows the name of a check, when it can be the name of a table.
fn table_name(word: &str, rest: &mut impl Iterator<Item = String>) -> Result<String, String> {
    // At the end of a list Postfix shows the name of the check (observed).
    let spec = rest.next().unwrap_or_else(|| word.to_string());
    if spec.contains(':') {
        Ok(spec)
    } else {
        Err(format!("restriction {word}: bad argument \"{spec}\": need maptype:mapname"))
    }
}

impl List {
    /// Whether a working instance of a restriction stands in the list that keeps strangers from relaying.
    pub fn protects_relay(&self, classes: &Classes) -> bool {
        self.protects_relay_at(classes, &mut Vec::new())
    }

    /// As Postfix it goes by the words, so that the argument of a check may count. `seen` are classes that this list is
    /// part of: a class that contains itself protects nothing by that.
    fn protects_relay_at<'c>(&'c self, classes: &'c Classes, seen: &mut Vec<&'c str>) -> bool {
        let mut words = self.words.iter();
        while let Some(word) = words.next() {
            let is = |name: &&str| word.eq_ignore_ascii_case(name);
            if is(&"warn_if_reject") {
                words.next();
            } else if is(&"permit") {
                if let Some(next) = words.next() {
                    log::warn!("restriction `{next}' after `{word}' is ignored");
                }
                return false;
            } else if RELAY_PROTECTION.iter().any(is) {
                return true;
            } else if let Some(list) = classes.get(word)
                && !seen.contains(&word.as_str())
            {
                seen.push(word);
                // A permit ends its own list only.
                if list.protects_relay_at(classes, seen) {
                    return true;
                }
                seen.pop();
            }
        }
        false
    }

    /// What is wrong in it, in the words that the log gets when a client meets it. Classes in it speak for themselves.
    pub fn mistakes(&self) -> impl Iterator<Item = String> {
        self.entries.iter().filter_map(|entry| match &entry.kind {
            Kind::Fault(complaint) | Kind::Idle(complaint) => Some(complaint.clone()),
            Kind::Check { argument: Argument::DnsList { list, .. }, .. } => list.fault().map(str::to_string),
            Kind::Check { argument: Argument::Table(table), .. } if table.is_misplaced() => {
                Some(format!("restriction {}: unexpected dictionary: {}", entry.word, table.name))
            }
            Kind::Check { argument: Argument::Policy(service), .. } => {
                service.endpoint.fault().map(ToString::to_string)
            }
            _ => None,
        })
    }

    /// Whether this, the list of the class of this name, contains that class, itself or in one of its classes.
    pub fn contains_itself(&self, name: &str, classes: &Classes) -> bool {
        self.leads_to(name, classes, &mut Vec::new())
    }

    fn leads_to(&self, name: &str, classes: &Classes, seen: &mut Vec<String>) -> bool {
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

    fn compiled(text: &str, classes: &Classes) -> List {
        list(text, &PLACE, classes, &mut OpenTables::new(false, defaults()))
    }

    #[test]
    fn protection() {
        let mut classes = Classes::new();
        classes.insert("mine".into(), Arc::new(compiled("permit_mynetworks, reject", &Classes::new())));
        for (text, protects) in [
            ("", false),
            ("permit_mynetworks", false),
            ("permit_mynetworks, reject_unauth_destination", true),
            ("permit_mynetworks Reject", true),
            ("permit reject", false),
            ("warn_if_reject reject", false),
            ("warn_if_reject reject defer", true),
            ("nosuch, check_client_access, reject", true),
            ("check_client_access permit reject", false),
            ("nosuch, reject", true),
            ("mine", true),
        ] {
            assert_eq!(compiled(text, &classes).protects_relay(&classes), protects, "{text}");
        }
    }

    #[test]
    fn mistakes() {
        for (text, complaint) in [
            ("permit, nosuchthing", "unknown smtpd restriction: \"nosuchthing\""),
            ("reject_rbl_client", "restriction reject_rbl_client requires domain name argument"),
            ("reject_rbl_client x=1", "RBL reply error: need \".\" at \"1><\""),
            (
                "check_client_access foo",
                "restriction check_client_access: bad argument \"foo\": need maptype:mapname",
            ),
            (
                "check_client_access",
                "restriction check_client_access: bad argument \"check_client_access\": need maptype:mapname",
            ),
            ("sleep", "restriction sleep must be followed by number"),
            ("sleep +1", "restriction sleep must be followed by number"),
            ("check_policy_service", "restriction check_policy_service must be followed by transport:server"),
            ("{ reject }", "unknown smtpd restriction: \"{ reject }\""),
            (
                "check_client_access {inline:{a=b}}",
                "restriction check_client_access: unexpected dictionary: {inline:{a=b}}",
            ),
        ] {
            let found: Vec<_> = compiled(text, &Classes::new()).mistakes().collect();
            assert_eq!(found, [complaint], "{text}");
        }
    }
}
