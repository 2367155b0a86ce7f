//! Why a look-up has no records, in the words that Postfix logs (spec smtp-client 3.2).

use crate::record::RecordType;

/// What a failure means. The order is the rank: of several failed look-ups for one purpose the greatest is reported
/// (observed on 3.7.11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// There is no such name, or it has no such record.
    NotFound,
    /// The domain says that it takes no mail (RFC 7505).
    NullMx,
    /// The domain says that it does not have the service (RFC 2782).
    NullSrv,
    /// The server says that the question makes no sense.
    Permanent,
    /// The data of every record is no host name.
    Malformed,
    /// No answer now, or one that makes no sense.
    Temporary,
    /// A reply filter has dropped all records.
    Filtered,
}

/// A failed look-up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// What it means.
    pub kind: FailureKind,
    /// The resolver's reason alone: `Host not found, try again`.
    pub reason: &'static str,
    /// The whole text.
    pub text: String,
}

/// NXDOMAIN.
const HOST_NOT_FOUND: &str = "Host not found";
/// No answer.
const TRY_AGAIN: &str = "Host not found, try again";
/// An answer with an error code that says that asking was wrong.
const NO_RECOVERY: &str = "Non-recoverable error";
/// The name has other records.
const NO_DATA: &str = "Host found but no data record of requested type";
/// The resolver had an answer; it is the caller that could not use it.
const NO_REASON: &str = "Unknown error 0";

impl Failure {
    fn new(kind: FailureKind, reason: &'static str, text: String) -> Self {
        Self { kind, reason, text }
    }

    fn by_server(kind: FailureKind, reason: &'static str, name: &str, wanted: RecordType) -> Self {
        let wanted = wanted.name();
        let text = format!(
            "Host or domain name not found. Name service error for name={name} type={wanted}: {reason}"
        );
        Self::new(kind, reason, text)
    }

    pub(crate) fn no_such_name(name: &str, wanted: RecordType) -> Self {
        Self::by_server(FailureKind::NotFound, HOST_NOT_FOUND, name, wanted)
    }

    pub(crate) fn no_data(name: &str, wanted: RecordType) -> Self {
        Self::by_server(FailureKind::NotFound, NO_DATA, name, wanted)
    }

    pub(crate) fn try_again(name: &str, wanted: RecordType) -> Self {
        Self::by_server(FailureKind::Temporary, TRY_AGAIN, name, wanted)
    }

    pub(crate) fn no_recovery(name: &str, wanted: RecordType) -> Self {
        Self::by_server(FailureKind::Permanent, NO_RECOVERY, name, wanted)
    }

    pub(crate) fn bad_name(name: &str) -> Self {
        let text = format!("Name service error for {name}: invalid host or domain name");
        Self::new(FailureKind::NotFound, HOST_NOT_FOUND, text)
    }

    /// `kind` tells whether the whole message or the data of its records is at fault.
    pub(crate) fn malformed(kind: FailureKind, name: &str, wanted: RecordType) -> Self {
        let wanted = wanted.name();
        let text = format!(
            "Name service error for name={name} type={wanted}: Malformed or unexpected name server reply"
        );
        Self::new(kind, NO_REASON, text)
    }

    pub(crate) fn null_mx(name: &str) -> Self {
        let text = format!("Domain {name} does not accept mail (nullMX)");
        Self::new(FailureKind::NullMx, NO_REASON, text)
    }

    pub(crate) fn null_srv(name: &str) -> Self {
        let text = format!("Domain {name} does not support SRV requests");
        Self::new(FailureKind::NullSrv, NO_REASON, text)
    }

    pub(crate) fn name_server_loop(name: &str) -> Self {
        Self::new(FailureKind::NotFound, NO_DATA, format!("Name server loop for {name}"))
    }

    pub(crate) fn filtered(name: &str, wanted: RecordType) -> Self {
        let text = format!(
            "Error looking up name={name} type={}: DNS reply filter drops all results",
            wanted.name()
        );
        Self::new(FailureKind::Filtered, "DNS reply filter policy", text)
    }

    pub(crate) fn bad_filter(name: &str, wanted: RecordType) -> Self {
        let text =
            format!("Error looking up name={name} type={}: Invalid DNS reply filter syntax", wanted.name());
        Self::new(FailureKind::Temporary, NO_REASON, text)
    }
}
