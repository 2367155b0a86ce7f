//! What is known of the address that mail is being delivered to, on the way from the recipient of the request through aliases
//! and lists.

use destinations::{Localpart, Values};
use ipc::delivery::{Recipient, Request};
use sys::user::User;

use crate::params::ListKind;

/// An address on its way. A step that goes deeper changes a copy.
#[derive(Debug, Clone)]
pub(crate) struct Attributes {
    /// Steps from the recipient of the request.
    pub(crate) level: usize,
    /// The address, as it is told of.
    pub(crate) recipient: Recipient,
    pub(crate) sender: Vec<u8>,
    pub(crate) envelope_id: Vec<u8>,
    pub(crate) ret_flags: i32,
    /// For `Delivered-To:`.
    pub(crate) delivered: Vec<u8>,
    /// The address, split.
    pub(crate) localpart: Localpart,
    /// Who answers for what else the list has; members of it get messages of their own.
    pub(crate) owner: Option<Vec<u8>>,
    /// The extension that goes to the addresses of the list, with its delimiter.
    pub(crate) unmatched: Option<Vec<u8>>,
    /// The last alias that was expanded.
    pub(crate) alias: Option<Vec<u8>>,
    /// The list that the address stood in.
    pub(crate) list: Option<ListKind>,
    /// Whose rights files and commands have; root's when nobody's.
    pub(crate) user: Option<User>,
}

impl Attributes {
    /// Those of a recipient of the request.
    pub(crate) fn of(request: &Request, recipient: &Recipient) -> Self {
        Self {
            level: 0,
            recipient: recipient.clone(),
            sender: request.sender.clone(),
            envelope_id: request.envelope_id.clone(),
            ret_flags: request.ret_flags,
            delivered: recipient.address.clone(),
            localpart: Localpart::default(),
            owner: None,
            unmatched: None,
            alias: None,
            list: None,
            user: None,
        }
    }

    /// One step deeper.
    pub(crate) fn deeper(&self) -> Self {
        Self { level: self.level + 1, ..self.clone() }
    }

    /// For parameters with macros.
    pub(crate) fn values(&self, first_delimiter: Option<u8>) -> Values<'_> {
        use std::os::unix::ffi::OsStrExt;
        let user = self.user.as_ref();
        Values {
            localpart: &self.localpart,
            recipient: &self.recipient.address,
            first_delimiter,
            home: user.map(|user| user.home.as_os_str().as_bytes()),
            shell: user.map(|user| user.shell.as_os_str().as_bytes()),
        }
    }

    /// The extension with its delimiter, if there is one.
    pub(crate) fn extension(&self) -> Option<Vec<u8>> {
        let extension = self.localpart.extension.as_deref()?;
        Some([self.localpart.delimiter.as_slice(), extension].concat())
    }
}
