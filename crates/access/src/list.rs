//! Restriction lists as the evaluator runs them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::argument::Argument;
use crate::dnsbl::list::fault;
use crate::lists::AccessTable;
use crate::restriction::Restriction;

/// The restrictions of which a server needs one in its relay or recipient list (spec access 4).
static RELAY_PROTECTION: &[&str] = &[
    "reject_unauth_destination",
    "defer_unauth_destination",
    "reject",
    "defer",
    "defer_if_permit",
    "check_relay_domains",
];

/// A compiled list.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// The restrictions in order.
    pub entries: Vec<Entry>,
    /// As written.
    pub(super) words: Vec<String>,
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

/// The classes of `smtpd_restriction_classes`. Each name is there, with an empty list, before any is compiled.
pub type Classes = HashMap<String, Arc<List>>;

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
            Kind::Check { argument: Argument::DnsList { list, .. }, .. } => fault(list),
            Kind::Check { argument: Argument::Table(table), .. } if table.is_misplaced() => {
                Some(format!("restriction {}: unexpected dictionary: {}", entry.word, table.name))
            }
            Kind::Check { argument: Argument::Policy(service), .. } => service.endpoint.fault(),
            _ => None,
        })
    }

    /// Whether this, the list of the class of this name, contains that class, itself or in one of its classes.
    pub(crate) fn contains_itself(&self, name: &str, classes: &Classes) -> bool {
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
