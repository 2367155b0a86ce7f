//! Restriction lists, compiled from main.cf when the server starts (spec access 1.3, 1.4, 1.8 and 4).
//!
//! Postfix answers a misspelt restriction with `451 4.3.5` for each request that meets it; here it stops the server
//! before a client is served. The results of access tables are lists too, and only met then: in those, trouble is
//! the request's.

use std::sync::Arc;

use config::list::words_with_groups;
use dnsbl::DnsList;

use crate::argument::Argument;
use crate::list::{Classes, Entry, Kind, List};
use crate::lists::AccessTable;
use crate::policy::settings::PolicyService;
use crate::restriction::{Restriction, Takes};
use crate::table;

/// Longest rest of `sleep`, in seconds.
const SLEEP_LIMIT: u64 = 0x7fff_ffff;

/// Where a list stands.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// In a parameter of its own, with this reply class.
    List(&'static str),
    /// In a restriction class, or in the result of a table: which list it serves shows when it runs.
    Class,
}

/// What a table alone means in a list of this reply class.
pub(crate) fn bare_table(class: &str) -> Option<&'static Restriction> {
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
pub(crate) fn bare_table_complaint(class: &str, word: &str) -> String {
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

    /// Whether something had to be there that is not: nothing more is opened.
    fn is_over(&self) -> bool {
        false
    }

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
pub(crate) fn open_all(text: &str, open: &mut dyn Open) -> Result<(), String> {
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
        if open.is_over() {
            break;
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
        let word = word.to_ascii_lowercase();
        Err(format!("restriction {word}: bad argument \"{spec}\": need maptype:mapname"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Place, list};
    use crate::list::{Classes, List};
    use crate::opening::OpenTables;
    use crate::policy::settings::tests::defaults;

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
