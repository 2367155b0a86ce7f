//! The conversation with a filter, without a server around it: what the conformance suite cannot see from outside.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use access::local_header_rewrite::RewriteContext;
use access::state::Actions;
use conformance::{Play, ScriptedFilter};
use smtp::client::{Endpoint, Families, ReplyLimits};
use smtpd::mail::content::{Content, Dots, Piece};
use smtpd::mail::envelope::{Envelope, Recipient};
use smtpd::mail::origin::Origin;
use smtpd::mail::refusal::Refusal;
use smtpd::proxy::{
    Answer, Filters, Options, Outcome, ProxyConversation, ProxyParams, Resting, Reuse, Timeouts,
};

fn params(filter: &ScriptedFilter, speed_adjust: bool) -> Arc<ProxyParams> {
    let endpoint = Endpoint::parse(&format!("127.0.0.1:{}", filter.port())).unwrap();
    Arc::new(ProxyParams {
        filters: Arc::new(Filters::new(vec![endpoint], Reuse::default(), Resting::Never)),
        timeouts: Timeouts::all(Duration::from_millis(500)),
        ehlo: b"mx.example.com".to_vec(),
        speed_adjust,
        reply_limits: ReplyLimits { line_length_limit: 2048, utf8: true },
        families: Families::All,
        gate: None,
        spool_directory: std::env::temp_dir(),
        options: Options::default(),
        report: Arc::default(),
    })
}

fn transaction() -> Envelope {
    Envelope {
        command: b"MAIL FROM:<alice@example.net>".to_vec(),
        time: SystemTime::now(),
        instance: String::new(),
        sender: b"alice@example.net".to_vec(),
        encoding: None,
        ret: None,
        envelope_id: None,
        sasl_sender: None,
        smtputf8: false,
        requiretls: false,
        prdr: false,
        verp: None,
        origin: Origin {
            name: b"unknown".to_vec(),
            address: b"2001:db8::1".to_vec(),
            rfc_address: b"IPv6:2001:db8::1".to_vec(),
            port: b"unknown".to_vec(),
            namaddr: b"unknown[2001:db8::1]".to_vec(),
            helo: None,
            protocol: b"SMTP".to_vec(),
            ident: None,
            rewrite_context: RewriteContext::Remote,
            forwarded: false,
        },
        recipients: 0,
        first_recipient: None,
        actions: Actions::default(),
        proxy_spoilt: false,
    }
}

fn bob() -> Recipient {
    Recipient { address: b"bob@example.com".to_vec(), notify: 0, dsn_orig_rcpt: Vec::new() }
}

fn open(filter: &ScriptedFilter, speed_adjust: bool) -> ProxyConversation {
    let mut proxy = ProxyConversation::open(&params(filter, speed_adjust), &mut transaction()).unwrap();
    proxy.recipient(&bob(), b"RCPT TO:<bob@example.com>").unwrap();
    proxy.data(b"DATA").unwrap();
    proxy
}

/// The reply; only 2xx may count as accepted.
fn answer(outcome: Outcome) -> String {
    let Outcome::Answered(Answer { reply, accepted, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(accepted, reply.starts_with(b"2"));
    String::from_utf8(reply).unwrap()
}

#[test]
fn what_is_not_known_is_unavailable() {
    let filter = ScriptedFilter::start();
    open(&filter, false).abort();
    let xforward = "XFORWARD NAME=[UNAVAILABLE] ADDR=IPv6:2001:db8::1 PORT=[UNAVAILABLE] HELO=[UNAVAILABLE] \
                    IDENT=[UNAVAILABLE] PROTO=SMTP SOURCE=REMOTE";
    assert_eq!(filter.heard()[1], xforward);
}

#[test]
fn dots_and_pieces() {
    let filter = ScriptedFilter::start();
    for speed_adjust in [false, true] {
        filter.reset();
        let mut proxy = open(&filter, speed_adjust);
        for (bytes, dots, piece) in [
            (&b"..stuffed"[..], Dots::Stuffed, Piece::Last),
            (b".lax", Dots::Stuffed, Piece::Last),
            (b".plain", Dots::Plain, Piece::Last),
            (b"long", Dots::Plain, Piece::More),
            (b".line", Dots::Plain, Piece::Last),
            // Whoever lets these through: they end no message.
            (b".", Dots::Stuffed, Piece::Last),
            (b".", Dots::Stuffed, Piece::More),
            (b"", Dots::Stuffed, Piece::Last),
            (b".", Dots::Plain, Piece::Last),
        ] {
            proxy.content(bytes, dots, piece);
        }
        assert_eq!(answer(proxy.finish(Content::Good)), "250 2.0.0 filter accepted");
        let heard = filter.heard();
        assert_eq!(
            heard[5..],
            ["..stuffed", ".lax", "..plain", "long.line", "..", "..", "..", ".", "QUIT", "<closed>"]
        );
    }
}

#[test]
fn a_spool_larger_than_memory_arrives_whole_and_leaves_no_file() {
    let filter = ScriptedFilter::start();
    let mut proxy = open(&filter, true);
    let lines: Vec<String> =
        (0..10_000).map(|number| format!("line {number} {}", "x".repeat(number % 60))).collect();
    for line in &lines {
        proxy.content(line.as_bytes(), Dots::Plain, Piece::Last);
    }
    assert_eq!(filter.connections(), 0, "called only at the end");
    assert_eq!(answer(proxy.finish(Content::Good)), "250 2.0.0 filter accepted");
    let heard = filter.heard();
    assert_eq!(heard[5..5 + lines.len()], lines);
    let own = format!("{}.", std::process::id());
    let left = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(&own)), "{left:?}");
}

#[test]
fn a_spool_that_cannot_be_written_is_a_temporary_failure() {
    let filter = ScriptedFilter::start();
    let params = Arc::new(ProxyParams {
        spool_directory: PathBuf::from("/nonexistent"),
        ..params(&filter, true).as_ref().clone()
    });
    let mut proxy = ProxyConversation::open(&params, &mut transaction()).unwrap();
    proxy.recipient(&bob(), b"RCPT TO:<bob@example.com>").unwrap();
    proxy.data(b"DATA").unwrap();
    for _ in 0..100 {
        proxy.content(&[b'x'; 1000], Dots::Plain, Piece::Last);
    }
    assert_eq!(answer(proxy.finish(Content::Good)), "451 4.3.0 Error: queue file write error");
    assert_eq!(filter.connections(), 0);
}

#[test]
fn a_filter_that_stops_reading_cannot_hold_the_session() {
    let filter = ScriptedFilter::start();
    // Answers DATA and then listens to nothing: the silence starts behind the 354.
    filter.play("DATA", [Play::Deaf(b"354 go\r\n".to_vec())]);
    let mut proxy = open(&filter, false);
    for _ in 0..20_000 {
        proxy.content(&[b'x'; 1000], Dots::Plain, Piece::Last);
    }
    assert_eq!(answer(proxy.finish(Content::Good)), "451 4.3.0 Error: queue file write error");
}

#[test]
fn replies_without_end_are_given_up() {
    for endless in [b"250-more\r\n".repeat(5000), b"x".repeat(3_000_000)] {
        let filter = ScriptedFilter::start();
        filter.play("EHLO", [Play::Bytes(endless)]);
        let mut transaction = transaction();
        let refusal = ProxyConversation::open(&params(&filter, false), &mut transaction).unwrap_err();
        assert_eq!(refusal.refusal, Refusal::generic());
        assert!(transaction.proxy_spoilt);
    }
}

#[test]
fn bad_content_never_ends_as_a_message() {
    let filter = ScriptedFilter::start();
    let mut proxy = open(&filter, false);
    proxy.content(b"half a li", Dots::Plain, Piece::More);
    assert_eq!(answer(proxy.finish(Content::Bad)), "354 go");
    assert_eq!(filter.heard()[5..], ["half a liQUIT", "<closed>"]);

    let connections = filter.connections();
    let mut proxy = open(&filter, true);
    proxy.content(b"line", Dots::Plain, Piece::Last);
    assert_eq!(answer(proxy.finish(Content::Bad)), "");
    assert_eq!(filter.connections(), connections);
}
