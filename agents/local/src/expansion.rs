//! A recipient of the request, with all that it becomes.

use std::cell::RefCell;
use std::path::Path;

use delivery::{Action, DeliveredTo, Delivery, Ids, Status};
use ipc::delivery::{Completion, Recipient};
use ipc::rewrite::Rule;
use queue::notify;

use crate::Local;
use crate::attributes::Attributes;
use crate::duplicates::Duplicates;
use crate::forwarding::Forwarding;
use crate::params::{Copied, Params, Tables};

/// The least steps that are too many.
pub(crate) const NESTING: usize = 100;

/// The recipient's delivery.
pub(crate) struct Expansion<'a> {
    pub(crate) local: &'a Local,
    pub(crate) tables: &'a Tables,
    pub(crate) delivery: &'a Delivery<'a>,
    pub(crate) loops: &'a DeliveredTo,
    pub(crate) duplicates: RefCell<Duplicates>,
    pub(crate) forwarding: RefCell<Forwarding>,
}

impl<'a> Expansion<'a> {
    pub(crate) fn new(
        local: &'a Local,
        tables: &'a Tables,
        delivery: &'a Delivery<'a>,
        loops: &'a DeliveredTo,
    ) -> Self {
        let duplicates = RefCell::new(Duplicates::new(local.params.duplicate_limit));
        Self { local, tables, delivery, loops, duplicates, forwarding: RefCell::default() }
    }

    /// Delivers to the recipient, and sends what is for elsewhere.
    pub(crate) fn run(self, recipient: &Recipient) -> Completion {
        let completion = self.recipient(Attributes::of(self.delivery.request(), recipient));
        let forwarding = self.forwarding.take();
        if completion == Completion::Deferred {
            return completion;
        }
        let told = Recipient { notify_flags: without_success(recipient.notify_flags), ..recipient.clone() };
        let with_delivered_to = self.params().delivered_to.contains(&Copied::Forward);
        let whole = forwarding.finish(&self.local.way, self.delivery, with_delivered_to, |queue_id| {
            let status = Status::new("2.0.0", format!("forwarded as {queue_id}"));
            let service = &self.params().service;
            self.delivery.sent_as(&told, service, &status, Action::Relayed) == Completion::All
        });
        if whole { Completion::All } else { Completion::Deferred }
    }

    pub(crate) fn params(&self) -> &'a Params {
        &self.local.params
    }

    /// The address has got the message, or would have.
    pub(crate) fn sent(&self, at: &Attributes, text: impl Into<Vec<u8>>) -> Completion {
        self.delivery.sent(&at.recipient, &self.params().service, &Status::new("2.0.0", text))
    }

    /// It has not got it: whether it ever will, the class of the code says.
    pub(crate) fn undelivered(
        &self,
        at: &Attributes,
        code: &'static str,
        text: impl Into<Vec<u8>>,
    ) -> Completion {
        self.failed(at, &Status::new(code, text))
    }

    /// It has not got it.
    pub(crate) fn failed(&self, at: &Attributes, status: &Status) -> Completion {
        self.delivery.failed(&at.recipient, &self.params().service, status)
    }

    pub(crate) fn no_alias_table(&self, at: &Attributes) -> Completion {
        self.undelivered(at, "4.3.0", "alias database unavailable")
    }

    pub(crate) fn misconfigured(&self, at: &Attributes) -> Completion {
        self.undelivered(at, "5.3.5", "mail system configuration error")
    }

    /// Whether this has been here.
    pub(crate) fn meets(&self, kind: &str, parts: &[&[u8]]) -> bool {
        self.duplicates.borrow_mut().meets(kind, parts)
    }

    /// The standard form, internal, of an address in external form.
    pub(crate) fn canonical(&self, address: &[u8]) -> Vec<u8> {
        address::internal(&self.addresses().rewrite(Rule::Local, address))
    }

    pub(crate) fn addresses(&self) -> std::sync::MutexGuard<'a, ipc::rewrite::Client> {
        self.local.addresses.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whose rights commands and files have: never root's.
    pub(crate) fn ids(&self, at: &Attributes) -> Ids {
        let default = self.local.places.default_privs;
        match &at.user {
            Some(user) if user.uid.as_raw() != 0 && user.gid.as_raw() != 0 => {
                Ids { uid: user.uid, gid: user.gid }
            }
            _ => default,
        }
    }

    /// Whose rights lists are looked at with.
    pub(crate) fn list_ids(&self, at: &Attributes) -> Ids {
        at.user.as_ref().map_or_else(Ids::root, |user| Ids { uid: user.uid, gid: user.gid })
    }
}

/// The first `Deferred` counts.
pub(crate) fn both(one: Completion, other: Completion) -> Completion {
    if one == Completion::All { other } else { one }
}

/// Who is told of the delivery by whom it was sent to is told by nobody else.
pub(crate) fn without_success(flags: i32) -> i32 {
    let [never, success] = [notify::NEVER, notify::SUCCESS].map(|flag| i32::try_from(flag).unwrap_or(0));
    if flags == success { never } else { flags & !success }
}

pub(crate) fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    maillog::shown(path.as_os_str().as_bytes()).to_string()
}
