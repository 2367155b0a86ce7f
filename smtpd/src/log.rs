//! Every standing log line of the server, one function each (spec smtpd 6).
//!
//! Log readers match on these texts: their form is an interface. What comes from a client passes through
//! [`maillog::shown`], so that it cannot start a line of its own.

use std::fmt::{self, Write};

use access::client::login::Login;
use access::client::{Client, text};
use access::log::context;
use maillog::shown;
use metrics::{Family, Fault};

pub(crate) use access::log::{Request, reject};

/// What lines have in place of a queue ID that is not known.
pub(crate) const NO_QUEUE_ID: &str = "NOQUEUE";
/// Room for the usual `client=` line.
const CLIENT_LINE: usize = 128;
/// Longest part of a client's input that a line shows.
const INPUT_SHOWN: usize = 100;

/// `connect from`
pub(crate) fn connect(client: &Client) {
    metrics::count(Family::SmtpdSessions, &[]);
    if metrics::is_on() {
        metrics::begin_session(&shown(&client.namaddr).to_string(), maillog::session_number());
    }
    log::info!("connect from {}", shown(&client.namaddr));
}

/// `disconnect from`, with the command counters.
pub(crate) fn disconnect(client: &Client, statistics: &str) {
    metrics::count(Family::SmtpdSessionsEnded, &[]);
    metrics::end_session();
    log::info!("disconnect from {}{statistics}", shown(&client.namaddr));
}

/// A message that was accepted before, with this reply, which is given again.
pub(crate) fn duplicate(request: &Request<'_>, reply: &[u8]) {
    access::log::action(request, "duplicate", "END-OF-MESSAGE", "", reply);
}

/// Input that came before TLS began, behind STARTTLS.
pub(crate) fn plaintext_discarded(client: &Client, bytes: usize) {
    log::warn!("discarding {bytes} bytes of plaintext behind STARTTLS from {}", shown(&client.namaddr));
}

/// A client that makes too many TLS sessions.
pub(crate) fn tls_refused(what: &str, client: &Client, service: &str) {
    log::warn!("Refusing {what} from {} for service {service}", shown(&client.namaddr));
}

/// Wrapper mode without what it takes.
pub(crate) fn wrappermode_dropped(client: &Client, service: &str) {
    log::warn!(
        "Wrapper-mode request dropped from {} for service {service}. TLS context initialization failed. For details \
         see earlier warnings in your logs.",
        shown(&client.namaddr)
    );
}

/// A required certificate that is not there.
pub(crate) fn tls_aborted(client: &Client, text: &str) {
    log::info!("NOQUEUE: abort: TLS from {}: {text}", shown(&client.namaddr));
}

/// Where a session was when it ended otherwise than by QUIT.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    /// Queue ID, or `NOQUEUE`; absent before 3.10, which does not tell it.
    pub queue_id: Option<&'a str>,
    /// The last command.
    pub stage: &'a str,
    /// How much content came, while content is received.
    pub bytes: Option<u64>,
    /// The client.
    pub client: &'a Client,
}

/// `lost connection after`
pub(crate) fn lost_connection(at: At<'_>) {
    ended("lost connection", at);
}

/// `timeout after`
pub(crate) fn timeout(at: At<'_>) {
    ended("timeout", at);
}

/// `too many errors after`
pub(crate) fn too_many_errors(at: At<'_>) {
    ended("too many errors", at);
}

fn ended(what: &str, at: At<'_>) {
    metrics::count(Family::SmtpdBroken, &[what, at.stage]);
    let start = at.queue_id.map(|id| format!("{id}: ")).unwrap_or_default();
    let bytes = at.bytes.map(|bytes| format!(" ({bytes} bytes)")).unwrap_or_default();
    log::info!("{start}{what} after {}{bytes} from {}", at.stage, shown(&at.client.namaddr));
}

/// `improper command pipelining`, with the start of what waits.
pub(crate) fn improper_pipelining(stage: &str, client: &Client, data: &[u8]) {
    let data = text::escaped(text::head(data, INPUT_SHOWN));
    log::info!("improper command pipelining after {stage} from {}: {data}", shown(&client.namaddr));
}

/// A command of another protocol.
pub(crate) fn non_smtp_command(client: &Client, line: &[u8]) {
    let line = text::escaped(text::head(line, INPUT_SHOWN));
    log::warn!("non-SMTP command from {}: {line}", shown(&client.namaddr));
}

/// A command above `line_length_limit`.
pub(crate) fn request_too_long(client: &Client, limit: usize, line: &[u8]) {
    let start = shown(text::head(line, 30));
    log::warn!("{}: request longer than {limit}: {start}...", shown(&client.namaddr));
}

/// A client whose command does not end, since 3.11.
pub(crate) fn input_disabled(service: &str) {
    log::warn!("disabling input from {service} socket");
}

/// A word of NOTIFY= that is none.
pub(crate) fn unknown_notify(word: &[u8], value: &[u8]) {
    log::warn!("unknown DSN NOTIFY command value \"{}\" in \"{}\"", shown(word), shown(value));
}

/// A command that `smtpd_command_filter` has put in place of another.
pub(crate) fn replaced_command(client: &Client, old: &[u8], new: &[u8]) {
    let (old, new) = (shown(text::head(old, INPUT_SHOWN)), shown(text::head(new, INPUT_SHOWN)));
    log::info!("{}: replacing command \"{old}\" with \"{new}\"", shown(&client.namaddr));
}

/// A look-up failed that decides what the client may do: this ends the session.
pub(crate) fn local_data_error(queue_id: &str, stage: &str, client: &Client, text: &str) {
    metrics::count(Family::SmtpdActions, &["reject", stage, "", access::log::code(text.as_bytes())]);
    log::info!("{queue_id}: reject: {stage} from {}: {text}", shown(&client.namaddr));
}

/// EHLO keywords that are not announced.
pub(crate) fn discarding_keywords(words: &str) {
    log::info!("discarding EHLO keywords: {words}");
}

/// BDAT without a size.
pub(crate) fn malformed_bdat(queue_id: &str, client: &Client, line: &[u8]) {
    let line = shown(text::head(line, INPUT_SHOWN));
    log::warn!("{queue_id}: malformed BDAT command syntax from {}: {line}", shown(&client.namaddr));
}

/// BDAT 0 without LAST.
pub(crate) fn null_bdat(queue_id: &str, client: &Client) {
    log::warn!("{queue_id}: null BDAT request from {}", shown(&client.namaddr));
}

/// A chunk above `message_size_limit`.
pub(crate) fn bdat_too_big(queue_id: &str, client: &Client) {
    log::warn!("{queue_id}: BDAT request from {} exceeds message size limit", shown(&client.namaddr));
}

/// Chunks of no use, and far too many.
pub(crate) fn bdat_too_much(queue_id: &str, client: &Client) {
    let client = shown(&client.namaddr);
    log::warn!("{queue_id}: too much BDAT content -- disabling further input from {client}");
}

/// Content above `message_size_limit`.
pub(crate) fn size_limit_exceeded(queue_id: &str) {
    log::warn!("{queue_id}: queue file size limit exceeded");
}

/// A full file system.
pub(crate) fn no_space(free: u64) {
    log::warn!("not enough free space in mail queue: {free} bytes < 1.5*message size limit");
}

/// ETRN for a domain that the flush service does not serve.
pub(crate) fn etrn_rejected(domain: &[u8], client: &Client) {
    log::warn!("reject: ETRN {}... from {}", shown(text::head(domain, INPUT_SHOWN)), shown(&client.namaddr));
}

/// ETRN for a name that the flush service does not take.
pub(crate) fn etrn_bad(domain: &[u8], client: &Client) {
    log::warn!("bad ETRN {}... from {}", shown(text::head(domain, INPUT_SHOWN)), shown(&client.namaddr));
}

/// ETRN from who has no service to ask.
pub(crate) fn etrn_stand_alone() {
    log::warn!("do not use ETRN in \"sendmail -bs\" mode");
}

/// No filter can be reached, and the message goes on without one.
pub(crate) fn unfiltered(queue_id: &str, sender: &[u8], held: bool) {
    let what = if held { "held" } else { "accepted" };
    log::warn!("{queue_id}: content filter unavailable, message {what} without it: from=<{}>", shown(sender));
}

/// The flush service does not answer.
pub(crate) fn flush_unreachable() {
    log::warn!("unable to talk to fast flush service");
}

/// A per-client limit was exceeded.
pub(crate) fn limit_exceeded(what: &str, value: i32, client: &Client, service: &str) {
    metrics::count(Family::SmtpdLimits, &[]);
    let shown = shown(&client.namaddr);
    let detail = format_args!("{what} limit exceeded: {value} for service {service}");
    metrics::fault(Fault::Client, &shown, &detail);
    log::warn!("{what} limit exceeded: {value} from {shown} for service {service}");
}

/// A login that succeeded: the transactions that follow tell of it, here it is only counted.
pub(crate) fn logged_in() {
    metrics::count(Family::SmtpdLogins, &["succeeded"]);
}

/// A login that failed, for a while or for good: the line that fail2ban matches. `user` is whom the authentication
/// server named.
pub(crate) fn authentication_failed(client: &Client, user: Option<&[u8]>, method: &[u8], reason: &[u8]) {
    metrics::count(Family::SmtpdLogins, &["failed"]);
    let user = user.map_or(&b"(unavailable)"[..], |user| text::head(user, INPUT_SHOWN));
    log::warn!(
        "{}: SASL {} authentication failed: {}, sasl_username={}",
        shown(&client.namaddr),
        shown(text::head(method, INPUT_SHOWN)),
        shown(reason),
        shown(user)
    );
}

/// A login that its client gave up.
pub(crate) fn authentication_aborted(client: &Client, method: &[u8]) {
    let method = shown(text::head(method, INPUT_SHOWN));
    log::warn!("{}: SASL {method} authentication aborted", shown(&client.namaddr));
}

/// What the `client=` line of a transaction says, each as far as known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun<'b> {
    /// Queue ID, or `NOQUEUE`.
    pub queue_id: &'b str,
    /// The client.
    pub client: &'b Client,
    /// Who has logged in.
    pub login: Option<&'b Login>,
    /// AUTH= of MAIL.
    pub sasl_sender: Option<&'b [u8]>,
    /// Queue ID at the upstream server.
    pub orig_queue_id: Option<&'b [u8]>,
    /// Client of the upstream server.
    pub orig_client: Option<&'b [u8]>,
}

/// The `client=` line of a transaction.
pub(crate) fn client(begun: &Begun<'_>) {
    let kind = if begun.queue_id == NO_QUEUE_ID { "filter" } else { "queue" };
    metrics::count(Family::SmtpdTransactions, &[kind]);
    metrics::message(if begun.queue_id == NO_QUEUE_ID { "" } else { begun.queue_id });
    let mut line = String::with_capacity(CLIENT_LINE);
    // Writing to a string does not fail.
    let mut add = |part: fmt::Arguments<'_>| _ = line.write_fmt(part);
    add(format_args!("{}: client={}", begun.queue_id, shown(&begun.client.namaddr)));
    if let Some(login) = begun.login {
        add(format_args!(", sasl_method={}", shown(&login.method)));
        add(format_args!(", sasl_username={}", shown(&login.username)));
    }
    if let Some(sender) = begun.sasl_sender {
        add(format_args!(", sasl_sender={}", shown(sender)));
    }
    if let Some(ident) = begun.orig_queue_id {
        add(format_args!(", orig_queue_id={}", shown(ident)));
    }
    if let Some(client) = begun.orig_client {
        add(format_args!(", orig_client={}", shown(client)));
    }
    log::info!("{line}");
}

/// What mail filters want: `QID: milter-VERDICT: STAGE from NAMADDR: TEXT; CONTEXT`.
pub(crate) fn milters(request: &Request<'_>, login: Option<&Login>, verdict: &str, stage: &str, text: &[u8]) {
    metrics::count(Family::SmtpdMilterActions, &[verdict, stage]);
    log::info!(
        "{}: milter-{verdict}: {stage} from {}: {};{}",
        request.queue_id,
        shown(&request.client.namaddr),
        shown(text),
        context_with(request, login)
    );
}

/// The sender was told that some recipients do not get the message.
pub(crate) fn bounced(queue_id: &str, sender: &[u8], recipients: usize) {
    log::info!("{queue_id}: bounce to <{}> for {recipients} refused recipients", shown(sender));
}

/// `proxy-accept` and `proxy-reject`: the filter's last word, on the message or on one recipient of several.
pub(crate) fn proxy_verdict(request: &Request<'_>, login: Option<&Login>, accepted: bool, reply: &[u8]) {
    let verdict = if accepted { "accept" } else { "reject" };
    metrics::count(Family::SmtpdProxyVerdicts, &[verdict, access::log::code(reply)]);
    log::info!("proxy-{verdict}: END-OF-MESSAGE: {};{}", shown(reply), context_with(request, login));
}

/// The same, and who has logged in.
fn context_with(request: &Request<'_>, login: Option<&Login>) -> String {
    let mut context = context(request);
    if let Some(login) = login {
        context.push_str(&format!(" sasl_username=<{}>", shown(&login.username)));
    }
    context
}
