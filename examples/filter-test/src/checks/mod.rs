//! The checks, in the order in which they run.

mod content;
mod envelope;
mod failures;
mod leaving;
mod load;
mod negotiation;
mod session;

use crate::check::{Check, Context, Outcome};

/// All of them.
pub const ALL: &[Check] = &[
    vital("greeting", "the filter greets with 2xx", negotiation::greeting),
    vital("ehlo", "EHLO is answered 2xx", negotiation::ehlo),
    check(
        "xforward-announced",
        "the reply to EHLO lists XFORWARD with NAME and ADDR at least",
        negotiation::announced,
    ),
    check("xforward", "its values arrive unchanged, encoded ones (xtext) too", negotiation::xforward),
    check(
        "xforward-anew",
        "a second message of a session has its own client, not the first one's",
        negotiation::anew,
    ),
    check(
        "envelope",
        "sender and recipients arrive as they were, also <> and quoted ones",
        envelope::envelope,
    ),
    check("parameters", "RET, ENVID, NOTIFY and ORCPT arrive", envelope::parameters),
    check(
        "odd-commands",
        "lower case and blanks in MAIL and RCPT, which Postfix passes on as they are",
        envelope::odd,
    ),
    check(
        "ordinary",
        "an ordinary message arrives once, its body and header fields unchanged",
        content::ordinary,
    ),
    check("dots", "lines that begin with dots arrive with exactly these", content::dots),
    check("bare-cr", "a CR without LF arrives", content::bare_cr),
    check("bare-lf", "a LF without CR arrives, as it is or as CR LF", content::bare_lf),
    check("nul", "NUL bytes arrive", content::nul),
    check("8-bit", "bytes above 127 arrive", content::eight_bit),
    check("smuggling", "a dot between bare line ends ends no message, here or behind", content::smuggling),
    check("long-line", "a line of 1 MB arrives in one piece", content::long_line),
    check("long-header", "a header field of 30 KB in many lines arrives", content::long_header),
    check("empty-message", "a message without a byte arrives", content::empty),
    check("no-header", "a message without header arrives", content::no_header),
    check(
        "pipelining",
        "commands in one piece are all answered, where PIPELINING is announced",
        session::pipelining,
    ),
    check("slow-pieces", "commands and content in single bytes", session::slow_pieces),
    check("rset", "after RSET the next transaction is the only one", session::rset),
    check(
        "several-messages",
        "three messages in a session arrive, each with its own envelope",
        session::several,
    ),
    check("early-quit", "QUIT in each phase before DATA: nothing arrives", leaving::quit),
    check(
        "hang-up",
        "hanging up in each phase before DATA: nothing arrives, and the filter is still there",
        leaving::hang_up,
    ),
    check("half-message", "QUIT and hanging up within a message: nothing arrives", leaving::half),
    check(
        "mail-refused",
        "a refusal of MAIL behind the filter reaches the front, 4xx as 4xx, 5xx as 5xx",
        failures::mail,
    ),
    check("rcpt-refused", "the same of RCPT", failures::rcpt),
    check(
        "rcpt-partly",
        "one of two recipients refused: the front learns it, the other gets the message",
        failures::partly,
    ),
    check("data-refused", "the same of DATA", failures::data),
    check("end-refused", "the same of the final dot", failures::end),
    check("early-yes", "no 2xx for a message before the server behind has said it", failures::early_yes),
    check(
        "next-hop-lost",
        "the server behind hangs up in each phase: 4xx or hang-up, no yes, no 5xx",
        failures::lost,
    ),
    check(
        "next-hop-down",
        "nobody listens behind: the same; then somebody does, and mail flows",
        failures::down,
    ),
    check(
        "reject",
        "the message of --reject is refused with 5xx 5.x.x, and nothing of it arrives",
        content::reject,
    ),
    check(
        "big-message",
        "a big message arrives; memory does not grow with it if --pid names the process",
        load::big,
    ),
    check(
        "many-sessions",
        "messages in several sessions at once each arrive once, none mixed up",
        load::sessions,
    ),
    check("verdict-times", "how long the answer to the final dot takes", load::times),
    check(
        "replies",
        "all replies were well formed: code, CR LF, no line over 2048 bytes",
        negotiation::replies,
    ),
];

const fn check(name: &'static str, about: &'static str, run: fn(&Context) -> Outcome) -> Check {
    Check { name, about, vital: false, run }
}

const fn vital(name: &'static str, about: &'static str, run: fn(&Context) -> Outcome) -> Check {
    Check { name, about, vital: true, run }
}
