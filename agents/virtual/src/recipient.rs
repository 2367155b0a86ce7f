//! Delivering to a recipient: whose mailbox it is, and then the mailbox.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use delivery::{Delivery, Ids, Parts, Status};
use ipc::delivery::{Completion, Recipient};
use lookup::Maps;
use mailbox::{Dotlock, Failure, Mbox, maildir};
use maillog::shown;
use sys::{Gid, Uid};

use crate::settings::Settings;
use crate::tables::Tables;

/// The code of an error that says nothing of itself: unlike local, this agent tries again.
const CODE: &str = "4.2.0";

/// What recipients are delivered with.
pub(crate) struct Site<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) tables: &'a Tables,
    pub(crate) relay: &'a str,
}

/// A mailbox of the tables.
struct Mailbox {
    path: Vec<u8>,
    ids: Ids,
}

/// Why there is none.
enum Refusal {
    UnknownUser,
    /// It has been logged.
    Configuration,
}

impl Site<'_> {
    pub(crate) fn deliver(&self, delivery: &Delivery<'_>, recipient: &Recipient) -> Completion {
        let user = recipient.address.to_ascii_lowercase();
        let mailbox = match self.mailbox(&user) {
            Ok(mailbox) => mailbox,
            Err(Refusal::UnknownUser) => {
                let text = [b"unknown user: \"", &user[..], b"\""].concat();
                return delivery.bounced(recipient, self.relay, &Status::new("5.1.1", text));
            }
            Err(Refusal::Configuration) => {
                let status = Status::new("4.3.5", "mail system configuration error");
                return delivery.deferred(recipient, self.relay, &status);
            }
        };
        let is_maildir = mailbox.path.ends_with(b"/");
        let kind = if is_maildir { "maildir" } else { "mailbox" };
        if delivery.is_probe() {
            let status = Status::new("2.0.0", format!("delivers to {kind}"));
            return delivery.sent(recipient, self.relay, &status);
        }
        let done = delivery.rights().lend(mailbox.ids, || {
            if is_maildir {
                mailbox.deliver_to_maildir(delivery, recipient)
            } else {
                self.deliver_to_file(&mailbox, delivery, recipient)
            }
        });
        match done {
            Ok(()) => {
                delivery.sent(recipient, self.relay, &Status::new("2.0.0", format!("delivered to {kind}")))
            }
            Err(Failure::Message) => Completion::Deferred,
            Err(Failure::Mailbox { status, is_denied }) => {
                if is_maildir {
                    Failure::Mailbox { status: status.clone(), is_denied }.warn_of_access(mailbox.ids);
                }
                delivery.failed(recipient, self.relay, &mailbox.explained(status, is_maildir))
            }
        }
    }

    /// Who owns the mailbox of an address, and where it is.
    fn mailbox(&self, user: &[u8]) -> Result<Mailbox, Refusal> {
        let tables = self.tables;
        let found = tables.find(&tables.mailboxes, user).map_err(|_| {
            log::warn!("table {}: lookup {}: Application error", tables.mailboxes.title(), shown(user));
            Refusal::Configuration
        })?;
        let found = found.ok_or(Refusal::UnknownUser)?;
        let path = [&self.settings.base, &b"/"[..], &found].concat();
        if self.settings.is_strict && path[self.settings.base.len()..].windows(4).any(|part| part == b"/../")
        {
            log::warn!(
                "recipient {}: bad mailbox path {} in virtual_mailbox_maps",
                shown(user),
                shown(&found)
            );
            return Err(Refusal::Configuration);
        }
        let minimum = u32::try_from(self.settings.minimum_uid).unwrap_or_default();
        let uid = self.id(&tables.uids, user, "uid", minimum)?;
        let gid = self.id(&tables.gids, user, "gid", 1)?;
        Ok(Mailbox { path, ids: Ids { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid) } })
    }

    fn id(&self, maps: &Maps, user: &[u8], kind: &str, minimum: u32) -> Result<u32, Refusal> {
        let title = maps.title();
        // A table that cannot tell has said so itself.
        let Ok(Some(value)) = self.tables.find(maps, user) else {
            log::warn!("recipient {}: not found in {title}", shown(user));
            return Err(Refusal::Configuration);
        };
        match number(&value, self.settings.is_strict) {
            Some(id) if id >= minimum => Ok(id),
            _ => {
                log::warn!("recipient {}: bad {kind} {} in {title}", shown(user), shown(&value));
                Err(Refusal::Configuration)
            }
        }
    }

    /// With the rights of the mailbox's user.
    fn deliver_to_file(
        &self,
        mailbox: &Mailbox,
        delivery: &Delivery<'_>,
        recipient: &Recipient,
    ) -> Result<(), Failure> {
        let mbox = Mbox {
            path: mailbox.path(),
            locking: &self.settings.locking,
            dotlock: Dotlock::Must,
            new_owner: None,
            code: CODE,
        };
        let mut target = mbox.open()?;
        if !target.metadata().is_file() {
            let path = shown(&mailbox.path);
            log::warn!("recipient {}: destination {path} is not a regular file", shown(&recipient.address));
            return Err(Failure::refusal("5.3.5", "mail system configuration error"));
        }
        if self.settings.strict_ownership
            && delivery.rights().can_switch()
            && target.metadata().uid() != mailbox.ids.uid.as_raw()
        {
            log::warn!("specify \"strict_mailbox_ownership = no\" to ignore mailbox ownership mismatch");
            let text = [b"destination ", &mailbox.path[..], b" is not owned by recipient"].concat();
            return Err(Failure::refusal("4.2.0", text));
        }
        target.append(delivery, &delivery.form(Parts::MBOX, recipient), mbox.path).map(drop)
    }
}

impl Mailbox {
    fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    /// With the rights of the maildir's user.
    fn deliver_to_maildir(&self, delivery: &Delivery<'_>, recipient: &Recipient) -> Result<(), Failure> {
        maildir::deliver(delivery, &delivery.form(Parts::MAILDIR, recipient), self.path(), CODE)
    }

    /// What is told of an error, where it does not say enough by itself.
    fn explained(&self, status: Status, is_maildir: bool) -> Status {
        let text = if is_maildir {
            [b"maildir delivery failed: ", &status.text[..]].concat()
        } else {
            [b"delivery failed to mailbox ", &self.path[..], b": ", &status.text].concat()
        };
        status.with_text(text)
    }
}

/// The id that a table gives. Up to 3.11 what stands behind the number does not matter.
fn number(value: &[u8], is_strict: bool) -> Option<u32> {
    let text = value.trim_ascii_start();
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    if is_strict && (end != value.len()) {
        return None;
    }
    std::str::from_utf8(&text[..end]).ok()?.parse().ok().filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for (value, lax, strict) in [
            ("1000", Some(1000), Some(1000)),
            (" 1000", Some(1000), None),
            ("1000x", Some(1000), None),
            ("x", None, None),
            ("-1", None, None),
            ("4294967295", None, None),
            ("4294967296", None, None),
        ] {
            let found = (number(value.as_bytes(), false), number(value.as_bytes(), true));
            assert_eq!(found, (lax, strict), "{value}");
        }
    }
}
