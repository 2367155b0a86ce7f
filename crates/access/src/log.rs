//! Log lines about a request (spec smtpd 6).
//!
//! Log readers match on these texts: their form is an interface. What comes from a client passes through
//! [`maillog::shown`], so that it cannot start a line of its own.

use maillog::shown;
use metrics::Family;

use crate::client::Client;
use crate::client::login::Login;
use crate::client::protocol::Protocol;
use crate::replies::soften;
use crate::settings::AccessParams;

/// A request, as a line about it tells of it; each address as far as known.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    /// How addresses are shown, and whether 5xx is to be 4xx.
    pub params: &'r AccessParams,
    /// Queue ID, or `NOQUEUE`.
    pub queue_id: &'r str,
    /// The client.
    pub client: &'r Client,
    /// How it greeted.
    pub protocol: Protocol,
    /// HELO name.
    pub helo: Option<&'r [u8]>,
    /// Sender, internal form.
    pub sender: Option<&'r [u8]>,
    /// Recipient, internal form.
    pub rcpt: Option<&'r [u8]>,
    /// Who has logged in.
    pub login: Option<&'r Login>,
    /// AUTH= of MAIL.
    pub sasl_sender: Option<&'r [u8]>,
}

/// A `reject:` line, with the whole reply as text.
pub fn reject(request: &Request<'_>, stage: &str, text: &[u8]) {
    let mut text = text.to_vec();
    if request.params.soft_bounce {
        soften(&mut text);
    }
    action(request, "reject", stage, "", &text);
}

/// A line for an action of a restriction: `QID: ACTION: STAGE from NAMADDR: TEXT; CONTEXT`.
pub fn action(request: &Request<'_>, action: &str, stage: &str, restriction: &str, text: &[u8]) {
    metrics::count(Family::SmtpdActions, &[action, stage, restriction, code(text)]);
    log::info!(
        "{}: {action}: {stage} from {}: {};{}{}",
        request.queue_id,
        shown(&request.client.namaddr),
        shown(text),
        context(request),
        logged_in(request)
    );
}

/// The code at the start of a reply; none of what is no reply. For counters: there are not many of them.
pub fn code(text: &[u8]) -> &str {
    let digits = text.get(..3).filter(|code| code.iter().all(u8::is_ascii_digit));
    digits.and_then(|code| std::str::from_utf8(code).ok()).unwrap_or("")
}

/// ` sasl_method=M sasl_username=U sasl_sender=S`, each as far as known: since 3.10 (observed on 3.10.3).
fn logged_in(request: &Request<'_>) -> String {
    let mut line = String::new();
    if !request.params.dialect.rejects_tell_logins() {
        return line;
    }
    if let Some(login) = request.login {
        line.push_str(&format!(" sasl_method={}", shown(&login.method)));
        line.push_str(&format!(" sasl_username={}", shown(&login.username)));
    }
    if let Some(sender) = request.sasl_sender {
        line.push_str(&format!(" sasl_sender={}", shown(sender)));
    }
    line
}

/// An address that is none.
pub(crate) fn illegal_address(client: &Client, command: &str, token: &[u8]) {
    log::warn!(
        "Illegal address syntax from {} in {command} command: {}",
        shown(&client.namaddr),
        shown(token)
    );
}

/// A recipient was refused by `smtpd_recipient_restrictions`, which come first by an old default.
pub(crate) fn old_relay_order(client: &Client, recipient: &[u8]) {
    log::info!(
        "using backwards-compatible default setting smtpd_relay_before_recipient_restrictions=no to reject recipient \
         \"{}\" from client \"{}\"",
        shown(recipient),
        shown(&client.namaddr)
    );
}

/// ` from=<> to=<> proto=P helo=<>`, each as far as known.
pub fn context(request: &Request<'_>) -> String {
    let mut line = String::new();
    if let Some(sender) = request.sender {
        line.push_str(&format!(" from=<{}>", request.params.log_addresses.shown(sender)));
    }
    if let Some(rcpt) = request.rcpt {
        line.push_str(&format!(" to=<{}>", request.params.log_addresses.shown(rcpt)));
    }
    line.push_str(&format!(" proto={}", request.protocol.name()));
    if let Some(helo) = request.helo {
        line.push_str(&format!(" helo=<{}>", shown(helo)));
    }
    line
}
