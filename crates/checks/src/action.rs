//! Actions: the results of checks, taken apart.

use lookup::Given;
use maillog::shown;
use message::header;
use smtp::EnhancedStatus;

/// The enhanced status of a rejection that names none.
const DEFAULT_STATUS: &[u8] = b"5.7.1";
/// The text of a rejection that has none.
const DEFAULT_TEXT: &[u8] = b"message content rejected";

/// Who obeys the actions: what it can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// cleanup, about a message that comes in: everything.
    Cleanup,
    /// cleanup, about a header that a Milter adds or changes: everything but PASS.
    Milter,
    /// The SMTP client, about a message that goes out: what changes the text and what is only logged.
    Delivery,
}

/// What a text is that was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A header: what stands in its place, or before it, must be one.
    Header,
    /// A record of a body.
    Body,
}

impl Part {
    /// The word for it in log lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Part::Header => "header",
            Part::Body => "body",
        }
    }
}

/// A word that is no verb, or none of the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unknown(Caller);

impl Unknown {
    fn told(self, title: &str, result: &[u8]) -> String {
        let unknown = if self.0 == Caller::Cleanup { "unknown" } else { "unsupported" };
        format!("{unknown} command in {title} map: {}", shown(result))
    }
}

/// What is to be done. The text that goes with it is in [`Action::text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Refuse the message; the text begins with an enhanced status of class 4 or 5.
    Reject,
    /// Log it as a warning.
    Warn,
    /// Log it.
    Info,
    /// Send the message through a filter: the text is `transport:nexthop`.
    Filter,
    /// Look no further.
    Pass,
    /// Accept the message and forget it.
    Discard,
    /// Put the message on hold.
    Hold,
    /// Put the text before.
    Prepend,
    /// Put the text instead.
    Replace,
    /// Deliver to the text and nobody else.
    Redirect,
    /// Deliver to the text, too.
    Bcc,
    /// Leave the text of the message out, and log it.
    Strip,
    /// Leave the text of the message out.
    Ignore,
}

impl Verb {
    /// The word for it in log lines.
    #[must_use]
    pub fn log_word(self) -> &'static str {
        match self {
            Verb::Reject => "reject",
            Verb::Warn => "warning",
            Verb::Info => "info",
            Verb::Filter => "filter",
            Verb::Pass => "pass",
            Verb::Discard => "discard",
            Verb::Hold => "hold",
            Verb::Prepend => "prepend",
            Verb::Replace => "replace",
            Verb::Redirect => "redirect",
            Verb::Bcc => "bcc",
            Verb::Strip => "strip",
            Verb::Ignore => "ignore",
        }
    }

    /// The verb of this word; `None` for the words that mean nothing is to be done.
    fn of(caller: Caller, word: &[u8]) -> Result<Option<Self>, Unknown> {
        let verb = match word.to_ascii_uppercase().as_slice() {
            b"DUNNO" | b"OK" => return Ok(None),
            b"REJECT" => Some(Verb::Reject),
            b"WARN" => Some(Verb::Warn),
            b"INFO" => Some(Verb::Info),
            b"FILTER" => Some(Verb::Filter),
            b"PASS" => Some(Verb::Pass),
            b"DISCARD" => Some(Verb::Discard),
            b"HOLD" => Some(Verb::Hold),
            b"PREPEND" => Some(Verb::Prepend),
            b"REPLACE" => Some(Verb::Replace),
            b"REDIRECT" => Some(Verb::Redirect),
            b"BCC" => Some(Verb::Bcc),
            b"STRIP" => Some(Verb::Strip),
            b"IGNORE" => Some(Verb::Ignore),
            _ => None,
        };
        verb.filter(|verb| verb.is_known_to(caller)).map(Some).ok_or(Unknown(caller))
    }

    fn is_known_to(self, caller: Caller) -> bool {
        match caller {
            Caller::Cleanup => true,
            Caller::Milter => self != Verb::Pass,
            Caller::Delivery => matches!(
                self,
                Verb::Warn | Verb::Info | Verb::Prepend | Verb::Replace | Verb::Strip | Verb::Ignore
            ),
        }
    }
}

/// What a table says about a text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Action {
    /// What is to be done.
    pub verb: Verb,
    /// The text that goes with it: a reason, a destination, an address, a replacement.
    pub text: Vec<u8>,
}

impl Action {
    /// Takes the result of a table apart; `title` is the parameter that named the table. `None` when there is nothing
    /// to do: the table says so, or it says what `caller` cannot do, which has been logged.
    pub fn parse(caller: Caller, part: Part, title: &str, result: &[u8]) -> Option<Self> {
        Self::read(caller, part, title, result, &mut |fault| log::warn!("{fault}"))
    }

    /// What is wrong with the result of a table, in the words that the log has when a message meets it. Of a text that
    /// goes on with what is only known then, the first word is looked at.
    pub(crate) fn fault(caller: Caller, part: Part, title: &str, given: &Given<'_>) -> Option<String> {
        let word = given.first_word()?;
        if !given.is_whole {
            return Verb::of(caller, word).err().map(|unknown| unknown.told(title, given.text));
        }
        let mut faults = Vec::new();
        let _ = Self::read(caller, part, title, given.text, &mut |fault| faults.push(fault));
        faults.into_iter().next()
    }

    fn read(
        caller: Caller,
        part: Part,
        title: &str,
        result: &[u8],
        tell: &mut dyn FnMut(String),
    ) -> Option<Self> {
        let end = result.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(result.len());
        let (word, text) = result.split_at(end);
        let text = text.trim_ascii_start();
        let verb = Verb::of(caller, word).unwrap_or_else(|unknown| {
            tell(unknown.told(title, result));
            None
        })?;
        if let Some(fault) = fault(verb, part, title, text) {
            tell(fault);
            return None;
        }
        let text = if verb == Verb::Reject { reason(text, tell) } else { text.to_vec() };
        Some(Action { verb, text })
    }

    /// Whether a rejection is one for now only: its status is of class 4.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.text.first() == Some(&b'4')
    }
}

/// Why an action cannot be obeyed.
fn fault(verb: Verb, part: Part, title: &str, text: &[u8]) -> Option<String> {
    match verb {
        Verb::Filter if text.is_empty() => Some(format!("missing FILTER command argument in {title} map")),
        Verb::Filter if !text.contains(&b':') => {
            let text = shown(text);
            Some(format!("bad FILTER command {text} in {title} -- need transport:destination"))
        }
        Verb::Redirect if !text.contains(&b'@') => {
            Some(format!("bad REDIRECT target \"{}\" in {title} map -- need user@domain", shown(text)))
        }
        Verb::Bcc if !text.contains(&b'@') => {
            Some(format!("bad BCC address \"{}\" in {title} map -- need user@domain", shown(text)))
        }
        Verb::Prepend | Verb::Replace => {
            let name = if verb == Verb::Prepend { "PREPEND" } else { "REPLACE" };
            if text.is_empty() {
                return Some(format!("{name} action without text in {title} map"));
            }
            let need = "need \"headername: headervalue\"";
            (part == Part::Header && header::name_length(text).is_none())
                .then(|| format!("bad {name} header text \"{}\" in {title} map -- {need}", shown(text)))
        }
        _ => None,
    }
}

/// The reason of a rejection, with an enhanced status of class 4 or 5 before it.
fn reason(text: &[u8], tell: &mut dyn FnMut(String)) -> Vec<u8> {
    let text = if text.is_empty() { DEFAULT_TEXT } else { text };
    let (status, rest) = match EnhancedStatus::prefix(text) {
        Some((_, length)) => text.split_at(length),
        None => (DEFAULT_STATUS, text),
    };
    let rest = rest.trim_ascii_start();
    let mut reason = status.to_vec();
    // Postfix reads on behind the end of a status without text (observed, 3.7.11).
    if !rest.is_empty() {
        reason.push(b' ');
        reason.extend_from_slice(rest);
    }
    if let Some(class) = reason.first_mut().filter(|class| !matches!(class, b'4' | b'5')) {
        *class = b'4';
        tell(format!("bad DSN action in {} -- need 4.x.x or 5.x.x", shown(text)));
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(caller: Caller, part: Part, result: &str) -> Option<(Verb, String)> {
        let action = Action::parse(caller, part, "some_checks", result.as_bytes())?;
        Some((action.verb, String::from_utf8(action.text).unwrap()))
    }

    #[test]
    fn actions() {
        for (result, expected) in [
            ("REJECT", Some((Verb::Reject, "5.7.1 message content rejected"))),
            ("reject  no  such", Some((Verb::Reject, "5.7.1 no  such"))),
            ("REJECT 4.7.9 later", Some((Verb::Reject, "4.7.9 later"))),
            ("REJECT 2.0.0 odd", Some((Verb::Reject, "4.0.0 odd"))),
            ("REJECT 5.1.1", Some((Verb::Reject, "5.1.1"))),
            ("REJECT 550 5.1.1 x", Some((Verb::Reject, "5.7.1 550 5.1.1 x"))),
            ("WARN", Some((Verb::Warn, ""))),
            ("Info\ttext", Some((Verb::Info, "text"))),
            ("FILTER a:b c", Some((Verb::Filter, "a:b c"))),
            ("FILTER", None),
            ("FILTER a", None),
            ("REDIRECT a", None),
            ("BCC <a@b>", Some((Verb::Bcc, "<a@b>"))),
            ("PREPEND a : b", Some((Verb::Prepend, "a : b"))),
            ("PREPEND a", None),
            ("REPLACE", None),
            ("DUNNO x", None),
            ("OK", None),
            ("FOO", None),
            ("", None),
        ] {
            let expected = expected.map(|(verb, text)| (verb, text.to_owned()));
            assert_eq!(parse(Caller::Cleanup, Part::Header, result), expected, "{result}");
        }
        assert_eq!(
            parse(Caller::Cleanup, Part::Body, "REPLACE a"),
            Some((Verb::Replace, "a".to_owned())),
            "a body's line is any text"
        );
    }

    #[test]
    fn not_everybody_can_do_everything() {
        for (result, milter, delivery) in [
            ("PASS", false, false),
            ("REJECT", true, false),
            ("HOLD", true, false),
            ("BCC a@b", true, false),
            ("PREPEND a: b", true, true),
            ("STRIP", true, true),
            ("IGNORE", true, true),
        ] {
            assert_eq!(parse(Caller::Milter, Part::Header, result).is_some(), milter, "{result}");
            assert_eq!(parse(Caller::Delivery, Part::Header, result).is_some(), delivery, "{result}");
        }
    }
}
