//! `notify_classes`: what the postmaster wants to be told about (spec smtpd 1.9).

bitflags::bitflags! {
    /// Error classes of `notify_classes`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Classes: u8 {
        /// Restrictions.
        const POLICY = 1;
        /// Protocol errors.
        const PROTOCOL = 2;
        /// Resource shortage.
        const RESOURCE = 4;
        /// Trouble of our own software or configuration.
        const SOFTWARE = 8;
        /// Undeliverable mail.
        const BOUNCE = 16;
        /// Trouble with data that software reads.
        const DATA = 32;
    }
}

impl Classes {
    /// No class.
    pub const NONE: Self = Self::empty();

    /// The class of this name; `None` for names that are none of this server's.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "policy" => Self::POLICY,
            "protocol" => Self::PROTOCOL,
            "resource" => Self::RESOURCE,
            "software" => Self::SOFTWARE,
            "bounce" => Self::BOUNCE,
            "data" => Self::DATA,
            // Known to the mail system, but never seen by this server.
            "delay" | "2bounce" => Self::NONE,
            _ => return None,
        })
    }
}
