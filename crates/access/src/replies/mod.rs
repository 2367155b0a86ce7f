//! Every reply text of the server that is not the work of a restriction: one place, so that it can be read beside the
//! spec smtpd 2.
//!
//! Replies that name the host are functions of it. Greeting, HELO, EHLO and ETRN replies carry no enhanced code.

use memchr::memchr;

use crate::settings::classes::Classes;

pub mod footer;
pub mod macros;
pub mod outcome;
pub(crate) mod reject_filter;

/// A mail filter ends the session.
pub const SERVER_CLOSING: &str = "421 4.7.0 Server closing connection";
/// A queue file could not be written, and mail filters do not know what has become of the message.
pub const MAIL_SYSTEM_ERROR: &str = "421 4.3.0 Mail system error";
/// Every failure of our own side; the cause is in the log, never in the reply.
pub const QUEUE_FILE_WRITE_ERROR: &str = "451 4.3.0 Error: queue file write error";
/// A mail filter has put the client off.
pub const TRY_AGAIN_LATER: &str = "454 4.3.0 Try again later";
/// Reply to HELP.
pub const COMMANDS: &str = "214 2.0.0 Commands: AUTH BDAT DATA EHLO ETRN HELO HELP MAIL NOOP QUIT RCPT RSET STARTTLS VRFY XCLIENT XFORWARD";
/// `250 2.0.0 Ok`
pub const OK: &str = "250 2.0.0 Ok";
/// Reply to QUIT.
pub const BYE: &str = "221 2.0.0 Bye";
/// MAIL accepted.
pub const SENDER_OK: &str = "250 2.1.0 Ok";
/// RCPT accepted.
pub const RECIPIENT_OK: &str = "250 2.1.5 Ok";
/// DATA accepted.
pub const START_MAIL_INPUT: &str = "354 End data with <CR><LF>.<CR><LF>";

/// An empty line, or white space alone.
pub const BAD_SYNTAX: &str = "500 5.5.2 Error: bad syntax";
/// Bytes that are no UTF-8 in a command.
pub const BAD_UTF8: &str = "500 5.5.2 Error: bad UTF-8 syntax";
/// No such command.
pub const NOT_RECOGNIZED: &str = "500 5.5.2 Error: command not recognized";
/// A command that is switched off.
pub const NOT_IMPLEMENTED: &str = "502 5.5.1 Error: command not implemented";
/// HTTP and its like.
pub const NON_SMTP: &str = "221 2.7.0 Error: I can break rules, too. Goodbye.";
/// With `smtpd_forbid_unauth_pipelining`.
pub const SYNCHRONIZATION: &str = "554 5.5.0 Error: SMTP protocol synchronization";

/// Usage of HELO; no enhanced code.
pub const HELO_SYNTAX: &str = "501 Syntax: HELO hostname";
/// Usage of EHLO; no enhanced code.
pub const EHLO_SYNTAX: &str = "501 Syntax: EHLO hostname";
/// A command that is not for clear text.
pub const STARTTLS_FIRST: &str = "530 5.7.0 Must issue a STARTTLS command first";
/// STARTTLS is granted.
pub const READY_TO_START_TLS: &str = "220 2.0.0 Ready to start TLS";
/// STARTTLS inside of TLS.
pub const TLS_ALREADY_ACTIVE: &str = "554 5.5.1 Error: TLS already active";
/// No usable certificate.
pub const TLS_NOT_AVAILABLE: &str = "454 4.7.0 TLS not available due to local problem";
/// Usage of STARTTLS.
pub const STARTTLS_SYNTAX: &str = "501 5.5.4 Syntax: STARTTLS";
/// Usage of RSET.
pub const RSET_SYNTAX: &str = "501 5.5.4 Syntax: RSET";
/// Usage of MAIL.
pub const MAIL_SYNTAX: &str = "501 5.5.4 Syntax: MAIL FROM:<address>";
/// Usage of RCPT.
pub const RCPT_SYNTAX: &str = "501 5.5.4 Syntax: RCPT TO:<address>";
/// Usage of DATA.
pub const DATA_SYNTAX: &str = "501 5.5.4 Syntax: DATA";
/// Usage of VRFY.
pub const VRFY_SYNTAX: &str = "501 5.5.4 Syntax: VRFY address";
/// Usage of VRFY with `smtputf8_enable`.
pub const VRFY_SYNTAX_UTF8: &str = "501 5.5.4 Syntax: VRFY address [SMTPUTF8]";

/// `smtpd_helo_required` and no HELO.
pub const HELO_FIRST: &str = "503 5.5.1 Error: send HELO/EHLO first";
/// The same for ETRN.
pub const ETRN_HELO_FIRST: &str = "503 Error: send HELO/EHLO first";
/// A command that has no place in a transaction.
pub const IN_TRANSACTION: &str = "503 5.5.1 Error: MAIL transaction in progress";
/// The same for ETRN.
pub const ETRN_IN_TRANSACTION: &str = "503 Error: MAIL transaction in progress";
/// MAIL in a transaction.
pub const NESTED_MAIL: &str = "503 5.5.1 Error: nested MAIL command";
/// MAIL while BDAT chunks are discarded.
pub const MAIL_AFTER_BDAT: &str = "503 5.5.1 Error: MAIL after BDAT";
/// RCPT between BDAT chunks.
pub const RCPT_AFTER_BDAT: &str = "503 5.5.1 Error: RCPT after BDAT";
/// DATA between BDAT chunks.
pub const DATA_AFTER_BDAT: &str = "503 5.5.1 Error: DATA after BDAT";
/// RCPT without MAIL.
pub const NEED_MAIL: &str = "503 5.5.1 Error: need MAIL command";
/// DATA without MAIL.
pub const NEED_RCPT: &str = "503 5.5.1 Error: need RCPT command";
/// DATA without an accepted recipient.
pub const NO_VALID_RECIPIENTS: &str = "554 5.5.1 Error: no valid recipients";
/// AUTH without SASL.
pub const AUTH_NOT_ENABLED: &str = "503 5.5.1 Error: authentication not enabled";
/// AUTH after a login.
pub const ALREADY_AUTHENTICATED: &str = "503 5.5.1 Error: already authenticated";
/// Usage of AUTH.
pub const AUTH_SYNTAX: &str = "501 5.5.4 Syntax: AUTH mechanism";
/// A login that succeeded.
pub const AUTHENTICATED: &str = "235 2.7.0 Authentication successful";
/// A login that failed; the reason follows.
pub const AUTHENTICATION_FAILED: &str = "535 5.7.8 Error: authentication failed: ";
/// A login that nobody could decide on; the reason follows.
pub const AUTHENTICATION_DEFERRED: &str = "454 4.7.0 Temporary authentication failure: ";
/// A login that the client gave up.
pub const AUTHENTICATION_ABORTED: &str = "501 5.7.0 Authentication aborted";
/// `smtpd_sasl_response_limit`
pub const RESPONSE_LIMIT: &str = "500 5.5.6 SASL response limit exceeded";

/// A sender that is no address.
pub const BAD_SENDER: &str = "501 5.1.7 Bad sender address syntax";
/// A recipient that is no address.
pub const BAD_RECIPIENT: &str = "501 5.1.3 Bad recipient address syntax";
/// `strict_smtputf8`.
pub const DECLARE_SMTPUTF8: &str = "553 5.6.7 Must declare SMTPUTF8 to send unicode address";
/// SIZE= above `message_size_limit`.
pub const SIZE_LIMIT: &str = "552 5.3.4 Message size exceeds fixed limit";
/// The queue file system is full.
pub const NO_STORAGE: &str = "452 4.3.1 Insufficient system storage";
/// Mail waits for the content filter for too long (`smtpd_proxy_queue_time_limit`).
pub const FILTER_BUSY: &str = "451 4.3.2 Error: the content filter is busy, try again later";
/// XVERP with the null sender.
pub const XVERP_NULL_SENDER: &str = "503 5.5.4 Error: XVERP requires non-null sender";
/// `local_header_rewrite_clients` cannot be looked up.
pub(crate) const TEMPORARY_LOOKUP_ERROR: &str = "451 4.3.0 Temporary lookup error";
/// A setting makes no sense.
pub(crate) const CONFIGURATION_ERROR: &str = "451 4.3.5 Server configuration error";
/// Before the answers for each recipient.
pub const PRDR: &str = "353 Answers for each recipient follow";
/// `smtpd_recipient_limit`
pub const TOO_MANY_RECIPIENTS: &str = "452 4.5.3 Error: too many recipients";

/// VRFY is off.
pub const VRFY_DISABLED: &str = "502 5.5.1 VRFY command is disabled";
/// ETRN without its argument.
pub const ETRN_SYNTAX: &str = "500 Syntax: ETRN domain";
/// ETRN with something that is no domain.
pub const ETRN_BAD_DOMAIN: &str = "501 Error: invalid parameter syntax";
/// The flush service took the request.
pub const ETRN_STARTED: &str = "250 Queuing started";
/// The flush service did not.
pub const ETRN_UNABLE: &str = "458 Unable to queue messages";

/// BDAT while CHUNKING is not announced; ends the session.
pub const BDAT_DISABLED: &str = "521 5.5.1 Error: command not implemented";
/// Usage of BDAT; ends the session, because nobody knows how much content follows.
pub const BDAT_SYNTAX: &str = "521 5.5.4 Syntax: BDAT count [LAST]";
/// A chunk of nothing that is not the last.
pub const BDAT_NULL: &str = "551 5.7.1 Null BDAT request";
/// `message_size_limit`
pub const BDAT_TOO_BIG: &str = "552 5.3.4 Chunk exceeds message size limit";
/// `message_size_limit`, found at end of data.
pub const MESSAGE_TOO_BIG: &str = "552 5.3.4 Error: message file too big";

/// XCLIENT or XFORWARD from a client that may not.
pub const NOT_AUTHORIZED: &str = "550 5.7.0 Error: insufficient authorization";
/// XCLIENT or XFORWARD with something else than attribute=value.
pub const ATTRIBUTE_EXPECTED: &str = "501 5.5.4 Error: attribute=value expected";
/// XCLIENT or XFORWARD with a value above 255 bytes.
pub const ATTRIBUTE_TOO_LONG: &str = "501 5.5.4 Error: attribute value too long";

/// How replies begin to what is against the protocol: commands that are unknown, malformed or out of place. What
/// restrictions and the authentication server say begins differently, and is not against it (observed, 3.7.11).
const PROTOCOL_ERRORS: [&str; 14] = [
    "500 5.5.2 Error: ",
    "500 Syntax: ",
    "501 Syntax: ",
    "501 5.5.4 ",
    "501 5.1.3 Bad ",
    "501 5.1.7 Bad ",
    "501 Error: invalid ",
    "502 5.5.1 Error: ",
    "503 5.5.1 Error: ",
    "503 5.5.4 Error: ",
    "503 Error: ",
    BDAT_DISABLED,
    "521 5.5.4 Syntax: ",
    "555 5.5.4 ",
];

/// What is against the postmaster's rules: what may not be asked for, and what is too much.
const POLICY: [&str; 7] = [
    HELO_FIRST,
    ETRN_HELO_FIRST,
    VRFY_DISABLED,
    NOT_AUTHORIZED,
    SIZE_LIMIT,
    BDAT_TOO_BIG,
    TOO_MANY_RECIPIENTS,
];

/// What kind of error a reply of ours tells of.
pub fn fault(reply: &[u8]) -> Classes {
    // Most replies are no errors: these are not compared.
    if matches!(reply.first(), Some(b'2' | b'3')) {
        Classes::NONE
    } else if POLICY.iter().any(|text| reply == text.as_bytes()) {
        Classes::POLICY
    } else if PROTOCOL_ERRORS.iter().any(|error| reply.starts_with(error.as_bytes())) {
        Classes::PROTOCOL
    } else if reply == TEMPORARY_LOOKUP_ERROR.as_bytes() {
        Classes::RESOURCE
    } else {
        Classes::NONE
    }
}

/// A look-up failed that decides what the client may do.
pub fn local_data_error(myhostname: &str) -> String {
    format!("421 4.3.0 {myhostname} Server local data error")
}

/// The load balancer does not say who the client is.
pub fn local_error(myhostname: &str) -> String {
    format!("421 4.3.0 {myhostname} Server local error")
}

/// A defect of this server has ended the session.
pub fn internal_error(myhostname: &str) -> String {
    format!("421 4.3.0 {myhostname} Error: internal error\r\n")
}

/// `smtpd_timeout` is over.
pub fn timeout(myhostname: &str) -> String {
    format!("421 4.4.2 {myhostname} Error: timeout exceeded")
}

/// `smtpd_hard_error_limit`
pub fn too_many_errors(myhostname: &str) -> String {
    format!("421 4.7.0 {myhostname} Error: too many errors")
}

/// A command longer than `line_length_limit`, in 3.12.
pub fn command_too_long(myhostname: &str) -> String {
    format!("500 5.5.2 {myhostname} Error: command too long")
}

/// A line that ends in LF alone, with `smtpd_forbid_bare_newline = reject`.
pub fn bare_newline(code: u16, myhostname: &str) -> String {
    format!("{code} 5.5.2 {myhostname} Error: bare <LF> received")
}

/// `soft_bounce`: 5xx becomes 4xx, and so does the enhanced code.
pub fn soften(line: &mut [u8]) {
    if line.first() == Some(&b'5') {
        line[0] = b'4';
        if line.get(4..6) == Some(b"5.") {
            line[4] = b'4';
        }
    }
}

/// Lines of a reply that may have several.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (line, behind) = match memchr(b'\n', text) {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        rest = behind;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
}

/// Sets the byte behind the code of a line that is not the last: a filter's reply may be garbage. Postfix makes
/// `hello` into `hel-o` (observed, 3.7.11).
pub fn separate(line: &mut [u8]) {
    if let Some(separator) = line.get_mut(3) {
        *separator = b'-';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults() {
        for (reply, expected) in [
            (NEED_MAIL, Classes::PROTOCOL),
            ("501 5.7.0 Authentication aborted", Classes::NONE),
            ("501 5.5.2 <x>: Helo command rejected: Invalid name", Classes::NONE),
            ("501 5.5.4 Syntax: AUTH mechanism", Classes::PROTOCOL),
            (NOT_AUTHORIZED, Classes::POLICY),
            (NO_VALID_RECIPIENTS, Classes::NONE),
            (OK, Classes::NONE),
        ] {
            assert_eq!(fault(reply.as_bytes()), expected, "{reply}");
        }
    }
}
