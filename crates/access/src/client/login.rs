//! Who has logged in (spec tls-sasl 17).

/// Who has logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The mechanism as the client wrote it, or `XCLIENT`.
    pub method: Vec<u8>,
    /// Name, printable.
    pub username: Vec<u8>,
}

impl Login {
    /// What XCLIENT says.
    #[must_use]
    pub fn by_xclient(username: Vec<u8>) -> Self {
        Self { method: b"XCLIENT".to_vec(), username }
    }
}
