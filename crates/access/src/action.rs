//! The results of access tables: REJECT, HOLD, FILTER and the rest (spec access 6.3).

use std::sync::Arc;

use lookup::Given;

use crate::argument::Argument;
use crate::compile::{self, Place};
use crate::dsn;
use crate::evaluate::Evaluator;
use crate::list::Classes as ClassLists;
use crate::lists::AccessTable;
use crate::policy::settings::PolicyService;
use crate::settings::classes::Classes;
use crate::state::Actions;
use crate::verdict::{Detail, Scope, Status, Stored, TableEntry, Trouble};

/// Applies a result. The words are tested in Postfix's order.
pub fn apply(evaluator: &mut Evaluator<'_, '_>, entry: &TableEntry, scope: &Scope<'_>) -> Status {
    let value = &entry.value[..];
    let end = value.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(value.len());
    let (word, text) = value.split_at(end);
    let text = text.trim_ascii_start();
    let codes = &evaluator.facts.params.codes;
    let (reject_code, defer_code) = (codes.access_map_reject, codes.access_map_defer);
    match word.to_ascii_uppercase().as_slice() {
        b"DUNNO" => Status::Dunno,
        b"REJECT" => evaluator.reject(detail(reject_code, "5.7.1", text, "Access denied", scope)),
        b"DEFER" => evaluator.reject(detail(defer_code, "4.7.1", text, "Access denied", scope)),
        b"INFO" | b"WARN" => {
            let action = if word.eq_ignore_ascii_case(b"INFO") { "info" } else { "warn" };
            evaluator.log_action(action, text);
            Status::Dunno
        }
        b"FILTER" | b"HOLD" | b"DISCARD" | b"REDIRECT" | b"BCC" | b"PREPEND" => {
            message_action(evaluator, word, text, entry, scope)
        }
        b"HANGUP" => {
            evaluator.log_action("hangup", text);
            // No text is no reply: the connection is closed.
            Status::Reject(Stored { class: Classes::NONE, text: Vec::new() })
        }
        b"DEFER_IF_PERMIT" => {
            evaluator.defer_if_permit(detail(defer_code, "4.7.1", text, "Service unavailable", scope));
            Status::Dunno
        }
        b"DEFER_IF_REJECT" => {
            evaluator.defer_if_reject(detail(defer_code, "4.7.1", text, "Service unavailable", scope));
            Status::Dunno
        }
        _ => other(evaluator, entry, value, word, text, scope),
    }
}

/// Numbers, OK, and what is a list of restrictions.
fn other(
    evaluator: &mut Evaluator<'_, '_>,
    entry: &TableEntry,
    value: &[u8],
    word: &[u8],
    text: &[u8],
    scope: &Scope<'_>,
) -> Status {
    // A code without text is a number, and a number is OK (spec access trap 5).
    if !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        evaluator.log_permit(&String::from_utf8_lossy(word), &entry.table, scope);
        return Status::Permit;
    }
    if let [first @ (b'4' | b'5'), second, third] = word
        && second.is_ascii_digit()
        && third.is_ascii_digit()
    {
        let code = i32::from(first - b'0') * 100 + i32::from(second - b'0') * 10 + i32::from(third - b'0');
        let default = if *first == b'4' { "4.7.1" } else { "5.7.1" };
        return evaluator.reject(detail(code, default, text, "", scope));
    }
    if word.eq_ignore_ascii_case(b"OK") || word.eq_ignore_ascii_case(b"RELAY") {
        evaluator.log_permit(&String::from_utf8_lossy(word), &entry.table, scope);
        return Status::Permit;
    }
    if value.contains(&b':') {
        let shown = maillog::shown(value);
        log::warn!("access table {} has entry with lookup table: {shown}", entry.table);
        log::warn!("do not specify lookup tables inside SMTPD access maps");
        log::warn!("define a restriction class and specify its name instead.");
        return evaluator.trouble(&Trouble::Configuration);
    }
    if value.iter().all(|byte| matches!(byte, b',' | b' ' | b'\t' | b'\r' | b'\n')) {
        log::warn!("access table {} entry {} has empty value", entry.table, maillog::shown(value));
        return Status::Permit;
    }
    restrictions(evaluator, entry, scope)
}

/// Nothing can be opened from inside the jail; nothing has to, because a value with a colon is no list.
struct TooLate;

impl compile::Open for TooLate {
    fn table(&mut self, name: &str) -> Arc<AccessTable> {
        Arc::new(AccessTable::misplaced(name))
    }

    fn fingerprints(&mut self, _: &str) -> Result<Argument, String> {
        Err("tables cannot be opened now".to_string())
    }

    fn policy(&mut self, _: &str) -> Result<Arc<PolicyService>, String> {
        Err("policy services cannot be looked for now".to_string())
    }
}

/// A result that is a list of restrictions and classes.
fn restrictions(evaluator: &mut Evaluator<'_, '_>, entry: &TableEntry, scope: &Scope<'_>) -> Status {
    let classes = &evaluator.lists.classes;
    let text = String::from_utf8_lossy(&entry.value);
    let list = compile::list(&text, &Place::Class, classes, &mut TooLate);
    evaluator.table_list(&list, entry, scope)
}

/// A rejection with a text of the administrator's, which may start with a status code.
fn detail(code: i32, default_dsn: &str, text: &[u8], default_text: &str, scope: &Scope<'_>) -> Detail {
    let (status, text) = dsn::split(text, default_dsn);
    let status = dsn::adapt(status, scope.class);
    let text = if text.is_empty() { default_text.as_bytes() } else { text };
    Detail::policy(
        code,
        &status,
        [b"<", scope.name, b">: ", scope.class.as_bytes(), b" rejected: ", text].concat(),
    )
}

/// Actions on the message as a whole.
fn message_action(
    evaluator: &mut Evaluator<'_, '_>,
    word: &[u8],
    text: &[u8],
    entry: &TableEntry,
    scope: &Scope<'_>,
) -> Status {
    let written = String::from_utf8_lossy(word).into_owned();
    let word = written.to_ascii_uppercase();
    if !is_available(evaluator, &word, entry) {
        return Status::Dunno;
    }
    if let Some(complaint) = text_fault(&word, text) {
        log::warn!("access table {} entry \"{}\" {complaint}", entry.table, maillog::shown(&entry.key));
        return Status::Dunno;
    }
    let first_hold = !evaluator.actions.hold;
    record(evaluator.actions, &word, text);
    let triggers = [scope.class.as_bytes(), b" triggers ", word.as_bytes()].concat();
    let said = match word.as_str() {
        "PREPEND" => return Status::Dunno,
        "HOLD" if !first_hold => return Status::Dunno,
        "HOLD" | "DISCARD" if text.is_empty() => [&triggers[..], b" action"].concat(),
        "HOLD" | "DISCARD" => [scope.class.as_bytes(), b" ", text].concat(),
        _ => [&triggers[..], b" ", text].concat(),
    };
    evaluator.log_action(&word.to_ascii_lowercase(), &[b"<", scope.name, b">: ", &said[..]].concat());
    if word == "DISCARD" {
        evaluator.log_permit(&written, &entry.table, scope);
        return Status::Permit;
    }
    Status::Dunno
}

/// What is wrong with the text of an action on the message.
fn text_fault(word: &str, text: &[u8]) -> Option<&'static str> {
    match word {
        "FILTER" if text.is_empty() => Some("has FILTER entry without value"),
        "FILTER" if !text.contains(&b':') => Some("requires transport:destination"),
        "REDIRECT" | "BCC" if !text.contains(&b'@') => Some("requires user@domain target"),
        "PREPEND" if message::header::name_length(text).is_none() => Some("requires header: text"),
        _ => None,
    }
}

/// What is wrong with a result, before a client meets it; nothing where that depends on what the client says.
pub(crate) fn fault(given: &Given<'_>, has_filter: bool, classes: &ClassLists) -> Option<String> {
    let word = given.first_word()?;
    let text = given.text[word.len()..].trim_ascii_start();
    let upper = String::from_utf8_lossy(word).to_ascii_uppercase();
    match upper.as_str() {
        "DUNNO" | "REJECT" | "DEFER" | "INFO" | "WARN" | "HANGUP" | "DEFER_IF_PERMIT" | "DEFER_IF_REJECT"
        | "OK" | "RELAY" => return None,
        "PREPEND" => {
            return text_fault(&upper, text).filter(|_| given.is_whole).map(|why| format!("PREPEND {why}"));
        }
        "FILTER" | "HOLD" | "DISCARD" | "REDIRECT" | "BCC" => {
            if has_filter {
                return Some(format!("with smtpd_proxy_filter specified, action {upper} is unavailable"));
            }
            return text_fault(&upper, text).filter(|_| given.is_whole).map(|why| format!("{upper} {why}"));
        }
        _ => {}
    }
    let is_code =
        matches!(word, [b'4' | b'5', second, third] if second.is_ascii_digit() && third.is_ascii_digit());
    if is_code || given.is_whole && !given.text.is_empty() && given.text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if given.text.contains(&b':') {
        return Some(format!("entry with lookup table: {}", maillog::shown(given.text)));
    }
    if given.is_whole && given.text.iter().all(|byte| matches!(byte, b',' | b' ' | b'\t' | b'\r' | b'\n')) {
        return Some("entry has empty value".to_owned());
    }
    let known = if given.is_whole { given.text } else { word };
    let list = compile::list(&String::from_utf8_lossy(known), &Place::Class, classes, &mut TooLate);
    // Of a text that is not all there, a missing argument is none that is missing.
    let first = list.mistakes().next();
    first.filter(|why| given.is_whole || why.starts_with("unknown "))
}

fn record(actions: &mut Actions, word: &str, text: &[u8]) {
    match word {
        "FILTER" => actions.filter = Some(text.to_vec()),
        "HOLD" => actions.hold = true,
        "DISCARD" => actions.discard = true,
        "REDIRECT" => actions.redirect = Some(text.to_vec()),
        "BCC" => actions.bcc.push(text.to_vec()),
        _ => actions.prepend.push(text.to_vec()),
    }
}

/// Whether the action can have an effect where it stands; says so in the log when not.
fn is_available(evaluator: &Evaluator<'_, '_>, word: &str, entry: &TableEntry) -> bool {
    let facts = &evaluator.facts;
    let table = &entry.table;
    if word != "PREPEND" && facts.params.has_filter {
        log::warn!("access table {table}: with smtpd_proxy_filter specified, action {word} is unavailable");
        return false;
    }
    if word != "PREPEND" && facts.stage == "ETRN" {
        log::warn!("access table {table}: action {word} is unavailable in smtpd_etrn_restrictions");
        return false;
    }
    if word == "PREPEND" && facts.stage == "END-OF-MESSAGE" {
        log::warn!("access table {table}: action PREPEND must be used before smtpd_end_of_data_restrictions");
        return false;
    }
    // The words speak of one setting, the test is of the moment: so they come at ETRN and VRFY, too.
    if facts.sender.is_none() {
        log::warn!(
            "access table {table}: with smtpd_delay_reject=no, action {word} is always skipped in Client host or Helo command restrictions"
        );
        return false;
    }
    true
}
