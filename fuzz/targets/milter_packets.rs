//! Packets of a Milter, as its answer to the offer and to each event; settings and lists of macros.
#![no_main]

use libfuzzer_sys::fuzz_target;
use milter::macros::Defaults;
use milter::negotiation::{Agreement, Offer};
use milter::packet::{HEADER, Packet, length};
use milter::settings::{Settings, milters};
use milter::{Conversation, Due, Edit, Event, Family, MacroLists, Macros, Next, Response, State};

struct Nothing;

impl Macros for Nothing {
    fn value(&self, name: &[u8]) -> Option<Vec<u8>> {
        name.len().is_multiple_of(2).then(|| name.to_vec())
    }
}

/// The packets of a stream, as far as they are whole.
fn packets(mut bytes: &[u8]) -> Vec<Packet<'_>> {
    let mut packets = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() {
        let Ok(length) = length(*header) else { break };
        let Some(packet) = rest.get(..length) else { break };
        packets.push(Packet { code: packet[0], data: &packet[1..] });
        bytes = &rest[length..];
    }
    packets
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = milters(text, &Settings::default());
        let _ = Defaults::parse(text);
        let _ = Offer::parse(text);
    }
    let lists = MacroLists::default();
    let offer = Offer::parse("6").unwrap();
    let _ = Agreement::read(bytes, offer, "fuzz");
    let settings = milters("inet:localhost:1", &Settings::default()).unwrap().remove(0);
    let mut conversation = Conversation::new(settings, true);
    let mut packets = packets(bytes).into_iter();
    let Some(first) = packets.next() else { return };
    if let Err(fault) = conversation.agree(first, offer) {
        assert!(!fault.lines.is_empty());
        return;
    }
    let words: [&[u8]; 2] = [b"<a@b>", b"SIZE=1"];
    let events = [
        Event::Connect { name: b"[::1]", family: Family::Inet6, port: b"x", address: b"::1" },
        Event::Helo(b"h"),
        Event::Mail(&words),
        Event::Rcpt(&words),
        Event::Data,
        Event::Header { name: b"a", value: b" b" },
        Event::EndOfHeaders,
        Event::Body(b"x\r\n"),
        Event::EndOfMessage,
        Event::Unknown(b"U"),
    ];
    for event in events.iter().cycle().take(30) {
        if !matches!(conversation.due(event, &Nothing, &lists, &Defaults::default()), Due::Ask(_)) {
            continue;
        }
        loop {
            let Some(packet) = packets.next() else { return };
            match conversation.answer(packet) {
                Ok(Next::More) => {}
                Ok(Next::Edit(edit)) => {
                    assert!(matches!(event, Event::EndOfMessage));
                    assert_ne!(edit, Edit::EndOfBody);
                }
                Ok(Next::Done(response)) => {
                    if let Response::Reply(text) = response {
                        assert!(matches!(text.first(), Some(b'4' | b'5')) && text.len() > 3);
                        assert!(!text.contains(&0));
                    }
                    break;
                }
                Err(fault) => {
                    let _ = conversation.fail(&fault);
                    assert_eq!(conversation.state, State::Error);
                    break;
                }
            }
        }
        if matches!(event, Event::EndOfMessage) {
            let _ = conversation.abort();
        }
    }
});
