//! Restrictions that look up access tables (spec access 6.1 and 6.2).

use lookup::{KeyForm, LookupError};

use crate::argument::Argument;
use crate::facts::Facts;
use crate::lists::AccessTable;
use crate::relay_checks::resolve;
use crate::verdict::{Scope, TableEntry, Trouble, Verdict};

/// `check_client_access`: all forms of the name, then all forms of the address.
pub(crate) fn check_client_access(facts: &Facts<'_>, argument: &Argument, _: &Scope<'_>) -> Verdict {
    let client = facts.client;
    let subject = Subject { name: &client.namaddr, class: "Client host", no_permit: None };
    let parents = facts.params.parent_matches("smtpd_access_maps");
    subject.check_both(argument, &client.namaddr, (&client.name, &client.address), parents)
}

/// `check_reverse_client_hostname_access`: the same with the unverified name, which must not permit.
pub(crate) fn check_reverse_client_hostname_access(
    facts: &Facts<'_>,
    argument: &Argument,
    _: &Scope<'_>,
) -> Verdict {
    let client = facts.client;
    let subject = Subject {
        name: &client.reverse_name,
        class: "Unverified Client host",
        no_permit: Some("check_reverse_client_hostname_access"),
    };
    let parents = facts.params.parent_matches("smtpd_access_maps");
    subject.check_both(argument, &client.reverse_name, (&client.reverse_name, &client.address), parents)
}

/// `check_helo_access`
pub(crate) fn check_helo_access(facts: &Facts<'_>, argument: &Argument, _: &Scope<'_>) -> Verdict {
    let Some(helo) = facts.helo else {
        return Verdict::Dunno;
    };
    let parents = facts.params.parent_matches("smtpd_access_maps");
    let subject = Subject { name: helo, class: "Helo command", no_permit: None };
    subject.check(argument, helo, |table| by_name(table, helo, parents))
}

/// `check_etrn_access`
pub(crate) fn check_etrn_access(facts: &Facts<'_>, argument: &Argument, _: &Scope<'_>) -> Verdict {
    let Some(domain) = facts.etrn else {
        return Verdict::Dunno;
    };
    let parents = facts.params.parent_matches("smtpd_access_maps");
    let subject = Subject { name: domain, class: "Etrn command", no_permit: None };
    subject.check(argument, domain, |table| by_name(table, domain, parents))
}

/// `check_sender_access`
pub(crate) fn check_sender_access(facts: &Facts<'_>, argument: &Argument, _: &Scope<'_>) -> Verdict {
    let Some(sender) = facts.sender else {
        return Verdict::Dunno;
    };
    if sender.is_empty() {
        let key = facts.params.null_access_lookup_key.as_bytes();
        let subject = Subject { name: sender, class: "Sender address", no_permit: None };
        return subject.check(argument, key, |table| {
            table.expect("check_access")?;
            table.find(key, KeyForm::Full)
        });
    }
    mail_access(facts, argument, sender, "Sender address")
}

/// `check_recipient_access`: OK does not count for addresses with routing in them.
pub(crate) fn check_recipient_access(facts: &Facts<'_>, argument: &Argument, _: &Scope<'_>) -> Verdict {
    match facts.recipient {
        Some(recipient) => mail_access(facts, argument, recipient, "Recipient address"),
        None => Verdict::Dunno,
    }
}

fn mail_access(facts: &Facts<'_>, argument: &Argument, address: &[u8], class: &'static str) -> Verdict {
    let resolved = match resolve(facts, address) {
        Ok(resolved) => resolved,
        Err(trouble) => return Verdict::Trouble(trouble),
    };
    let key = &resolved.recipient;
    let Some(at) = key.iter().rposition(|&byte| byte == b'@') else {
        log::warn!("check_mail_access: no @domain in address: {}", maillog::shown(key));
        return Verdict::Dunno;
    };
    let parents = facts.params.parent_matches("smtpd_access_maps");
    let subject = Subject { name: address, class, no_permit: None };
    let mut verdict = subject.check(argument, key, |table| {
        table.expect("check_mail_access")?;
        if let Some(value) = by_both_forms(table, key, KeyForm::Full)? {
            return Ok(Some(value));
        }
        let (local, domain) = key.split_at(at);
        let user = facts.tables.delimiter.split(local).map(|(user, _)| user);
        if let Some(user) = user
            && let Some(value) = by_both_forms(table, &[user, domain].concat(), KeyForm::Partial)?
        {
            return Ok(Some(value));
        }
        if let Some(value) = domain_and_parents(table, &domain[1..], parents, KeyForm::Partial)? {
            return Ok(Some(value));
        }
        if let Some(value) = by_both_forms(table, &[local, b"@"].concat(), KeyForm::Partial)? {
            return Ok(Some(value));
        }
        match user {
            Some(user) => by_both_forms(table, &[user, b"@"].concat(), KeyForm::Partial),
            None => Ok(None),
        }
    });
    if let Verdict::Entry(entry) = &mut verdict {
        entry.permit_is_dunno =
            class == "Recipient address" && resolved.is_routed() && !facts.params.allow_untrusted_routing;
    }
    verdict
}

/// The address as SMTP quotes it, then, if that differs, without the quotes.
fn by_both_forms(table: &AccessTable, internal: &[u8], form: KeyForm) -> Lookup {
    let external = address::Mailbox::from_internal(internal).to_external();
    if external != internal
        && let Some(value) = table.find(&external, form)?
    {
        return Ok(Some(value));
    }
    table.find(internal, form)
}

/// The value found, if any.
pub(crate) type Lookup = Result<Option<Vec<u8>>, LookupError>;

/// The value found, and the name or address that it was found for.
pub(crate) type Found = Result<Option<(Vec<u8>, Vec<u8>)>, LookupError>;

/// What was found for this name or address.
pub(crate) fn found_for(key: &[u8], lookup: Lookup) -> Found {
    Ok(lookup?.map(|value| (value, key.to_vec())))
}

/// The name in full, then its parent domains; parents of an address are no domains.
pub(crate) fn by_name(table: &AccessTable, name: &[u8], parents: bool) -> Lookup {
    table.expect("check_domain_access")?;
    if let Some(value) = table.find(name, KeyForm::Full)? {
        return Ok(Some(value));
    }
    if address::host_address(name).is_ok() {
        return Ok(None);
    }
    match parent(name, parents) {
        Some(parent) => domain_and_parents(table, parent, parents, KeyForm::Partial),
        None => Ok(None),
    }
}

fn domain_and_parents(table: &AccessTable, domain: &[u8], parents: bool, form: KeyForm) -> Lookup {
    let mut name = Some(domain);
    while let Some(key) = name {
        if let Some(value) = table.find(key, form)? {
            return Ok(Some(value));
        }
        name = parent(key, parents);
    }
    Ok(None)
}

/// `b.c` of `a.b.c`, or `.b.c` when parent domains match only with a dot.
fn parent(name: &[u8], plain: bool) -> Option<&[u8]> {
    let skip = usize::from(name.first() == Some(&b'.'));
    let dot = skip + name[skip..].iter().position(|&byte| byte == b'.')?;
    let parent = &name[dot + usize::from(plain)..];
    (!parent.is_empty()).then_some(parent)
}

/// The address in full, then with components removed from its end.
pub(crate) fn by_address(table: &AccessTable, address: &[u8]) -> Lookup {
    table.expect("check_addr_access")?;
    if let Some(value) = table.find(address, KeyForm::Full)? {
        return Ok(Some(value));
    }
    let separator = if address.contains(&b':') { b':' } else { b'.' };
    let mut key = address;
    while let Some(at) = key.iter().rposition(|&byte| byte == separator) {
        key = &key[..at];
        if let Some(value) = table.find(key, KeyForm::Partial)? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// What an entry, once found, is about.
pub(crate) struct Subject<'s> {
    /// What replies name.
    pub name: &'s [u8],
    /// Its reply class.
    pub class: &'static str,
    /// The restriction that must not permit; `None` when it may.
    pub(crate) no_permit: Option<&'static str>,
}

impl Subject<'_> {
    fn check(&self, argument: &Argument, key: &[u8], find: impl Fn(&AccessTable) -> Lookup) -> Verdict {
        match argument {
            Argument::Table(table) => self.check_table(table, key, find),
            _ => Verdict::Trouble(Trouble::Configuration),
        }
    }

    /// By the forms of a name, then by those of an address.
    fn check_both(
        &self,
        argument: &Argument,
        asked: &[u8],
        (name, address): (&[u8], &[u8]),
        parents: bool,
    ) -> Verdict {
        let Argument::Table(table) = argument else {
            return Verdict::Trouble(Trouble::Configuration);
        };
        self.check_found(table, asked, |table| match found_for(name, by_name(table, name, parents))? {
            None => found_for(address, by_address(table, address)),
            found => Ok(found),
        })
    }

    /// The verdict of a table.
    pub(crate) fn check_table(
        &self,
        table: &AccessTable,
        key: &[u8],
        find: impl Fn(&AccessTable) -> Lookup,
    ) -> Verdict {
        self.check_found(table, key, |table| found_for(key, find(table)))
    }

    /// The same, of a table that was asked about several names or addresses.
    pub(crate) fn check_found(
        &self,
        table: &AccessTable,
        asked: &[u8],
        find: impl Fn(&AccessTable) -> Found,
    ) -> Verdict {
        match find(table) {
            Ok(None) => Verdict::Dunno,
            Ok(Some((value, key))) => Verdict::Entry(TableEntry {
                table: table.name.clone(),
                key,
                asked: asked.to_vec(),
                value,
                name: self.name.to_vec(),
                class: self.class,
                no_permit: self.no_permit,
                permit_is_dunno: false,
                is_default: false,
            }),
            Err(_) => Verdict::Trouble(Trouble::Table { name: self.name.to_vec(), class: self.class }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parent;

    #[test]
    fn parents() {
        for (name, plain, expected) in [
            ("a.b.tld", true, Some("b.tld")),
            ("tld", true, None),
            ("a.b.tld", false, Some(".b.tld")),
            (".b.tld", false, Some(".tld")),
            (".tld", false, None),
            ("b.tld.", false, Some(".tld.")),
            (".tld.", false, Some(".")),
            (".", false, None),
            ("a.", true, None),
        ] {
            assert_eq!(parent(name.as_bytes(), plain), expected.map(str::as_bytes), "{name}");
        }
    }
}
