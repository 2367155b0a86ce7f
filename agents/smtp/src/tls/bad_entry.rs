//! What is wrong with an entry of a table of policies (spec tls-sasl 13).

/// Why an entry is of no use; the words are Postfix's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadEntry {
    #[error("invalid empty policy")]
    Empty,
    #[error("invalid security level \"{0}\"")]
    Level(String),
    #[error("malformed attribute/value pair \"{0}\": {1}")]
    Malformed(String, String),
    #[error("attribute \"{0}\" has empty value")]
    NoValue(String),
    #[error("attribute \"{0}\" has an unexpected value: \"{1}\"")]
    UnexpectedValue(String, String),
    #[error("attribute \"{0}\" has a malformed value: \"{1}\"")]
    MalformedValue(String, String),
    #[error(
        "built-in policy has unexpected attribute policy_ttl, policy_domain, policy_string, mx_host_pattern or \
         policy_failure"
    )]
    NoPolicyType,
    #[error("attribute \"{0}\" is specified multiple times")]
    Twice(String),
    #[error("attribute \"{0}\" invalid at security level \"{1}\"")]
    OtherLevel(String, &'static str),
    #[error("attribute \"{0}\" has bad value: \"{1}\"")]
    BadValue(String, String),
    #[error("\"servername={0}\" specifies an invalid hostname")]
    ServerName(String),
    #[error("invalid attribute name: \"{0}\"")]
    Unknown(String),
}
