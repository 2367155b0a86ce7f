//! The order of decisions for an address (spec local-delivery 2 and 3).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use delivery::Ids;
use destinations::Localpart;
use ipc::delivery::Completion;

use crate::account::{self, Found};
use crate::attributes::Attributes;
use crate::expansion::Expansion;
use crate::params::ListKind;

impl Expansion<'_> {
    /// Delivers to an address that is ours.
    pub(crate) fn recipient(&self, mut at: Attributes) -> Completion {
        at.level += 1;
        let address = at.recipient.address.clone();
        if self.meets("recipient", &[at.level.to_string().as_bytes(), &address]) {
            return Completion::All;
        }
        if self.loops.has(&address) {
            let text = [b"mail forwarding loop for ", &address[..]].concat();
            return self.bounced_by_owner(&at, &delivery::Status::new("5.4.6", text));
        }
        let above = at.delivered.clone();
        if !self.params().frozen_delivered_to {
            at.delivered = address.clone();
        }
        at.localpart = Localpart::split(&address, &self.params().delimiter);
        let shown = |bytes: &[u8]| maillog::shown(bytes).to_string();
        if at.localpart.domain.is_none() {
            log::warn!("no @ in recipient address: {}", shown(&at.localpart.whole));
        }
        if let Some(illegal) = &at.localpart.illegal {
            log::warn!("{}: address with illegal extension: {}", self.delivery.id(), shown(illegal));
        }
        if at.localpart.user.is_empty() {
            return self.undelivered(&at, "5.1.3", [b"null username in \"", &address[..], b"\""].concat());
        }
        // An extension that came along from above has done its duty.
        at.unmatched = None;
        if address.starts_with(b"\\") {
            at.recipient.address.remove(0);
            at.localpart.whole.remove(0);
            at.localpart.user.remove(0);
            if !self.params().frozen_delivered_to {
                at.delivered.clone_from(&at.recipient.address);
            }
            return self.mailbox(&at).unwrap_or_else(|| self.unknown(&at));
        }
        self.decide(&at, above)
    }

    /// What is sent on as a member of a list goes by the address above, which `Delivered-To:` then has (observed, 3.7.11).
    fn decide(&self, at: &Attributes, above: Vec<u8>) -> Completion {
        let Localpart { whole, user, extension, .. } = &at.localpart;
        if let Some(completion) = self.alias(at, whole, None) {
            return completion;
        }
        if extension.is_some() {
            let propagates = self.params().extension_of.contains(&ListKind::Alias);
            let unmatched = if propagates { at.extension() } else { None };
            if let Some(completion) = self.alias(at, user, unmatched) {
                return completion;
            }
        }
        if at.owner.as_ref().is_some_and(|owner| !owner.eq_ignore_ascii_case(user))
            || at.list == Some(ListKind::Include)
        {
            return self.forward(&Attributes { delivered: above, ..at.clone() });
        }
        if self.params().require_home
            && let Some(completion) = self.lacks_home(at)
        {
            return completion;
        }
        self.forward_file(at).or_else(|| self.mailbox(at)).unwrap_or_else(|| self.unknown(at))
    }

    /// Why there is no delivery to a user whose home directory cannot be reached.
    fn lacks_home(&self, at: &Attributes) -> Option<Completion> {
        let user = match account::find(&at.localpart.user) {
            Found::User(user) => user,
            Found::Nobody => return None,
            Found::Error(error) => return Some(self.lookup_failed(at, &error)),
        };
        let ids = Ids { uid: user.uid, gid: user.gid };
        let error = self.delivery.rights().lend(ids, || std::fs::metadata(&user.home)).err()?;
        let home = OsStr::as_bytes(user.home.as_os_str());
        let text =
            [b"cannot access home directory ", home, b": ", sys::error_text(&error).as_bytes()].concat();
        Some(self.undelivered(at, "4.3.0", text))
    }

    pub(crate) fn lookup_failed(&self, at: &Attributes, error: &std::io::Error) -> Completion {
        let user = maillog::shown(&at.localpart.user).to_string();
        log::warn!("error looking up passwd info for {user}: {}", sys::error_text(error));
        self.undelivered(at, "4.0.0", "user lookup error")
    }

    /// Has an address sent mail, once.
    pub(crate) fn forward(&self, at: &Attributes) -> Completion {
        if self.meets("forward", &[&at.recipient.address]) {
            return Completion::All;
        }
        if self.delivery.is_probe() {
            return self.sent(at, [b"forwards to ", &at.recipient.address[..]].concat());
        }
        if self.forwarding.borrow_mut().add(&self.local.way, self.delivery.request(), at) {
            return Completion::All;
        }
        self.undelivered(at, "4.3.0", "unable to forward message")
    }
}
