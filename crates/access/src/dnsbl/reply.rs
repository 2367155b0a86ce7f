//! `default_rbl_reply`, `rbl_reply_maps`: replies to listed clients, with macros (spec access 7.5).

use std::borrow::Cow;
use std::cell::RefCell;

use config::expand::{Expander, Names};
use lookup::KeyForm;

use crate::dsn;
use crate::facts::Facts;
use crate::replies::macros::{self, About};
use crate::verdict::{Detail, Scope, Trouble};
use dnsbl::DnsList;

/// The text of a reply with macros in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template<'t>(pub &'t str);

/// The macros of DNS lists; the others are those of the session.
const LIST_NAMES: [&str; 6] = ["rbl_code", "rbl_class", "rbl_what", "rbl_domain", "rbl_reason", "rbl_txt"];

/// The values of the macros.
#[derive(Debug)]
pub struct Macros {
    values: Vec<Vec<u8>>,
    unknown: RefCell<Option<String>>,
}

impl Names for Macros {
    fn value(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        let found = LIST_NAMES.iter().chain(&macros::NAMES).position(|known| known.as_bytes() == name);
        if found.is_none() {
            let name = String::from_utf8_lossy(name).into_owned();
            self.unknown.borrow_mut().get_or_insert(name);
        }
        self.values.get(found?).map(|value| Cow::Borrowed(&value[..]))
    }
}

impl Macros {
    /// The same value for all, to try a template.
    fn of_one_value(value: &[u8]) -> Self {
        let count = LIST_NAMES.len() + macros::NAMES.len();
        Self { values: vec![value.to_vec(); count], unknown: RefCell::new(None) }
    }

    fn new(facts: &Facts<'_>, list: &DnsList, what: &Scope<'_>, text: &[u8]) -> Self {
        let of_list: [Cow<'_, [u8]>; LIST_NAMES.len()] = [
            Cow::Owned(facts.params.dns.maps_rbl_reject_code.to_string().into_bytes()),
            what.class.as_bytes().into(),
            what.name.into(),
            list.domain.as_bytes().into(),
            text.into(),
            text.into(),
        ];
        let about = About { helo: facts.helo, sender: facts.sender, recipient: facts.recipient };
        let of_session = macros::values(facts.client, &facts.params.myhostname, &about);
        let values = of_list.into_iter().map(Cow::into_owned).chain(of_session).collect();
        Self { values, unknown: RefCell::new(None) }
    }
}

impl Template<'_> {
    /// What is wrong with it, whatever the values are.
    pub fn fault(&self) -> Option<String> {
        [&b""[..], b"x"].iter().find_map(|value| self.expand(&Macros::of_one_value(value), b"x").err())
    }

    /// The text with values in place of macros; bytes of values that are not in `allowed` become `_`.
    ///
    /// # Errors
    /// The lines that say what is wrong.
    pub fn expand(&self, macros: &Macros, allowed: &[u8]) -> Result<Vec<u8>, String> {
        let expanded = Expander::plain(macros).filtered(allowed).expand(self.0.as_bytes());
        if let Some(name) = macros.unknown.take() {
            return Err(format!("unknown macro name \"{name}\" in expansion request"));
        }
        expanded.map_err(|faults| faults.to_string())
    }
}

/// The rejection of what a list has.
///
/// # Errors
/// `rbl_reply_maps` cannot tell.
pub(crate) fn rejection(
    facts: &Facts<'_>,
    list: &DnsList,
    what: &Scope<'_>,
    text: &[u8],
) -> Result<Detail, Trouble> {
    let params = &facts.params.dns;
    let macros = Macros::new(facts, list, what, text);
    let find = |key: &str| {
        let found = facts.tables.dns.rbl_replies.find(key.as_bytes(), KeyForm::Full);
        found.map_err(|_| Trouble::Configuration)
    };
    let mut template = find(&list.text)?;
    // A list with a pattern of addresses also has the reply for the list (observed, 3.10.3).
    if template.is_none() && list.text != list.domain && facts.params.dialect.knows_replies_for_domains() {
        template = find(&list.domain)?;
    }
    let expanded = template.and_then(|template| {
        let text = String::from_utf8_lossy(&template);
        let template = Template(&text);
        let expanded = template.expand(&macros, &params.smtpd_expansion_filter);
        expanded
            .inspect_err(|fault| {
                log::warn!("{fault}");
                let domain = &list.domain;
                log::warn!("rbl_reject_reply: bad rbl reply template for domain {domain}: {}", template.0);
            })
            .ok()
    });
    let reply = match expanded {
        Some(reply) => reply,
        None => Template(&params.default_rbl_reply)
            .expand(&macros, &params.smtpd_expansion_filter)
            // Postfix's process ends here; the client is told to come again.
            .map_err(|fault| {
                log::warn!("default_rbl_reply: {fault}");
                Trouble::Configuration
            })?,
    };
    Ok(detail(&reply, what.class))
}

/// `CODE [DSN] TEXT`
fn detail(reply: &[u8], class: &str) -> Detail {
    const DEFAULT: &[u8] = b"Service unavailable";
    let [first @ (b'4' | b'5'), second, third, b' ', text @ ..] = reply else {
        log::warn!("rbl response code configuration error: {}", maillog::shown(reply));
        return Detail::policy(450, "4.7.1", DEFAULT.to_vec());
    };
    if !second.is_ascii_digit() || !third.is_ascii_digit() {
        log::warn!("rbl response code configuration error: {}", maillog::shown(reply));
        return Detail::policy(450, "4.7.1", DEFAULT.to_vec());
    }
    let code = [first, second, third].iter().fold(0, |code, digit| code * 10 + i32::from(**digit - b'0'));
    let (status, text) = dsn::split(text.trim_ascii_start(), "4.7.1");
    let status = dsn::adapt(status, class);
    Detail::policy(code, &status, if text.is_empty() { DEFAULT.to_vec() } else { text.to_vec() })
}
