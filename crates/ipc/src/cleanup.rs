//! The cleanup protocol: how one message is handed to `public/cleanup`.
//!
//! Shape (null encoding, spec ipc.md 6):
//!
//! 1. server: announcement `protocol=cleanup_protocol`, `queue_id=ID`; the queue file exists by then
//! 2. client: one strict list, `flags=N`
//! 3. client: queue-file records up to `E` (crate `queue`), with no list framing around them
//! 4. server: `status=N`, `reason=TEXT`; both close
//!
//! [`Client`] is the producer's side (smtpd, pickup, bounce, local), [`announce`], [`read_flags`] and
//! [`write_reply`] are the server's. What cannot be read is a typed error; the caller decides which
//! status that is.

use std::fmt;

/// Value of `protocol` in the announcement.
pub const PROTOCOL: &str = "cleanup_protocol";

/// Options of one message, as sent by the client in `flags` (spec ipc.md 6.2).
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags(pub u32);

impl Flags {
    /// Bounce bad mail to its sender and report success.
    pub const BOUNCE: Flags = Flags(1);
    /// Header and body checks, strict MIME checks, reject and strip characters.
    pub const FILTER: Flags = Flags(2);
    /// Put the message on hold.
    pub const HOLD: Flags = Flags(4);
    /// Throw the message away and report success.
    pub const DISCARD: Flags = Flags(8);
    /// Automatic BCC recipients are allowed.
    pub const BCC: Flags = Flags(16);
    /// Canonical, masquerade and virtual alias mapping are allowed.
    pub const MAP: Flags = Flags(32);
    /// Milters are allowed.
    pub const MILTER: Flags = Flags(64);
    /// The client wants a Milter's SMTP reply in `reason`.
    pub const SMTP_REPLY: Flags = Flags(128);
    /// The sender asked for SMTPUTF8.
    pub const SMTPUTF8: Flags = Flags(256);
    /// Turn SMTPUTF8 on when UTF-8 is found.
    pub const SMTPUTF8_AUTODETECT: Flags = Flags(512);
    /// The sender asked for REQUIRETLS (Postfix 3.11 and later).
    pub const REQUIRETLS: Flags = Flags(1024);

    /// What a stream record `f` may add: HOLD and DISCARD.
    pub const EXTRA: Flags = Flags(4 | 8);

    /// smtpd's flags before `receive_override_options` (114).
    pub const SMTPD: Flags = Flags(2 | 16 | 32 | 64);
    /// pickup's flags before `receive_override_options` (115).
    pub const PICKUP: Flags = Flags(1 | 2 | 16 | 32 | 64);
    /// Mail made by the mail system itself (32).
    pub const INTERNAL: Flags = Flags(32);

    /// True when every bit of `other` is set.
    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Sets the bits of `other`.
    pub fn insert(&mut self, other: Flags) {
        self.0 |= other.0;
    }

    /// Clears the bits of `other`.
    pub fn remove(&mut self, other: Flags) {
        self.0 &= !other.0;
    }
}

impl std::ops::BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({:#x})", self.0)
    }
}

/// The final `status`: a set of error bits, empty on success (spec ipc.md 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Status(pub u32);

impl Status {
    /// Success.
    pub const OK: Status = Status(0);
    /// Malformed input.
    pub const BAD: Status = Status(1);
    /// The queue file could not be written.
    pub const WRITE: Status = Status(2);
    /// The message exceeds `message_size_limit`.
    pub const SIZE: Status = Status(4);
    /// The content was rejected.
    pub const CONT: Status = Status(8);
    /// `hopcount_limit` was reached.
    pub const HOPS: Status = Status(16);
    /// There was no recipient.
    pub const RCPT: Status = Status(64);
    /// The before-queue filter failed; made inside smtpd only.
    pub const PROXY: Status = Status(128);
    /// Service not available, try later.
    pub const DEFER: Status = Status(256);
    /// Service denied; from postdrop only.
    pub const NOPERM: Status = Status(512);
    /// A bare line feed; made inside smtpd only.
    pub const BARE_LF: Status = Status(65536);

    /// True when a bit of `other` is set.
    pub fn intersects(self, other: Status) -> bool {
        self.0 & other.0 != 0
    }

    /// True when no error is set.
    pub fn is_ok(self) -> bool {
        self.0 == 0
    }

    /// Sets the bits of `other`.
    pub fn insert(&mut self, other: Status) {
        self.0 |= other.0;
    }

    /// Clears the bits of `other`.
    pub fn remove(&mut self, other: Status) {
        self.0 &= !other.0;
    }

    /// The reply code, enhanced status and text of the most significant bit. smtpd's replies use
    /// another order and other words (spec cleanup.md 3); this table serves bounces and pickup's log.
    pub fn detail(self) -> Detail {
        DETAILS.iter().find(|(bit, _)| self.intersects(*bit)).map_or(SUCCESS, |(_, detail)| *detail)
    }
}

impl std::ops::BitOr for Status {
    type Output = Status;

    fn bitor(self, other: Status) -> Status {
        Status(self.0 | other.0)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Status({:#x})", self.0)
    }
}

/// What a status means to an SMTP client and in a delivery status notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detail {
    /// SMTP reply code.
    pub code: u16,
    /// Enhanced status code.
    pub dsn: &'static str,
    /// The text.
    pub text: &'static str,
}

const fn detail(code: u16, dsn: &'static str, text: &'static str) -> Detail {
    Detail { code, dsn, text }
}

const SUCCESS: Detail = detail(250, "2.0.0", "Success");

const DETAILS: [(Status, Detail); 10] = [
    (Status::DEFER, detail(451, "4.7.1", "service unavailable")),
    (Status::PROXY, detail(451, "4.3.0", "queue file write error")),
    (Status::BAD, detail(451, "4.3.0", "internal protocol error")),
    (Status::RCPT, detail(550, "5.1.0", "no recipients specified")),
    (Status::HOPS, detail(554, "5.4.0", "too many hops")),
    (Status::SIZE, detail(552, "5.3.4", "message file too big")),
    (Status::CONT, detail(550, "5.7.1", "message content rejected")),
    (Status::WRITE, detail(451, "4.3.0", "queue file write error")),
    (Status::NOPERM, detail(550, "5.7.1", "service denied")),
    (Status::BARE_LF, detail(521, "5.5.2", "bare <LF> received")),
];

/// The server's final answer.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reply {
    /// Error bits; no bits is success.
    pub status: Status,
    /// A full SMTP reply, or an enhanced status code and text, or empty. Not empty on success when the
    /// message was bounced.
    pub reason: Vec<u8>,
}
