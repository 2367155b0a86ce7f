//! What is in a message.

use crate::check::{Context, Outcome};
use crate::message::{compare, compare_end, ordinary as message};

/// Sends an ordinary message with this body; what arrived must be the same.
fn unchanged(context: &Context, body: &str) -> Result<String, String> {
    bytes_unchanged(context, message(body))
}

fn bytes_unchanged(context: &Context, content: Vec<u8>) -> Result<String, String> {
    let message = context.message(content);
    let delivery = context.deliver(&message)?;
    compare(&message.content, &delivery.content)?;
    Ok(String::new())
}

pub fn ordinary(context: &Context) -> Outcome {
    unchanged(context, "Hello Bob,\r\n\r\nshall we meet at noon?\r\n\r\nAlice\r\n").into()
}

pub fn dots(context: &Context) -> Outcome {
    let each = || {
        for body in [
            "..\r\n",
            "..one dot\r\n...two dots\r\nno.dot\r\n",
            "x\r\n..\r\n...\r\n....\r\n..\r\n",
            "\r\n..\r\n\r\n..\r\n",
            "..leading, and then many lines\r\n",
        ] {
            unchanged(context, body)?;
        }
        // Wherever reads may cut it.
        let lines: String =
            (0..3000).map(|number| format!("{}\r\n..{number}\r\n", "x".repeat(number % 80))).collect();
        unchanged(context, &lines)
    };
    each().into()
}

pub fn bare_cr(context: &Context) -> Outcome {
    unchanged(context, "one\rtwo\r\nthree\r\r\n\rfour\r\n").into()
}

pub fn bare_lf(context: &Context) -> Outcome {
    let sent = context.message(message("one\ntwo\r\nthree\n\nfour\r\n"));
    let arrive = || {
        let delivery = context.deliver(&sent)?;
        if compare(&sent.content, &delivery.content).is_ok() {
            return Ok(String::new());
        }
        // Postfix itself makes CR LF of it on the way to a filter.
        compare(&message("one\r\ntwo\r\nthree\r\n\r\nfour\r\n"), &delivery.content)?;
        Ok("becomes CR LF".into())
    };
    arrive().into()
}

pub fn nul(context: &Context) -> Outcome {
    unchanged(context, "one\0two\r\n\0\r\nthree\0\r\n").into()
}

pub fn eight_bit(context: &Context) -> Outcome {
    let mut content = message("");
    content.extend((1..=255).filter(|byte| !matches!(byte, b'\r' | b'\n')));
    content.extend_from_slice(b"\r\n");
    bytes_unchanged(context, content).into()
}

pub fn smuggling(context: &Context) -> Outcome {
    let each = || {
        let mut notes = Vec::new();
        for ending in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r\n.\r", "\r.\r\n", "\r.\r"] {
            let outside = context.message("");
            let inside = context.message(message(""));
            let mut client = context.session()?;
            let reply = client.envelope(&inside)?;
            if reply.class() != 2 {
                return Err(format!("the envelope was refused: {reply}"));
            }
            client.expect("DATA", 3)?;
            client.send(&message(&format!("harmless{ending}")));
            for line in [&outside.mail, &outside.rcpt[0], &b"DATA".to_vec(), &b"Subject: smuggled".to_vec()] {
                client.send(line);
                client.send(b"\r\n");
            }
            client.send(b"\r\nsmuggled\r\n.\r\n");
            let shown = ending.escape_debug();
            // To refuse such a message is right too.
            let reply = client.reply()?;
            client.see_out();
            context.nothing_arrived(&outside, &format!("\"{shown}\" ended the message"))?;
            if let Some(delivery) = context.sink.taken(&inside.token).first() {
                let content = &delivery.content;
                if content.windows(ending.len()).any(|bytes| bytes == ending.as_bytes()) {
                    let text = format!("\"{shown}\" is passed on");
                    // Servers that take a LF for CR LF are many, those that take a CR for it few.
                    if ending.contains('\n') && !ending.contains("\r.") && !ending.ends_with(".\r") {
                        return Err(format!("{text}: some servers take it for the end of the message"));
                    }
                    notes.push(text);
                }
            } else if reply.class() == 2 {
                return Err(format!("\"{shown}\": answered {reply}, but nothing arrived"));
            }
        }
        Ok(notes.join(", "))
    };
    each().into()
}

pub fn long_line(context: &Context) -> Outcome {
    unchanged(context, &format!("before\r\n{}\r\nafter\r\n", "0123456789".repeat(100_000))).into()
}

pub fn long_header(context: &Context) -> Outcome {
    let field: String = (0..400).map(|number| format!("\r\n\t<{number:060}@example.net>")).collect();
    let content = String::from_utf8(message("Hello.\r\n")).expect("it is ASCII");
    bytes_unchanged(context, format!("References:{field}\r\n{content}").into_bytes()).into()
}

pub fn empty(context: &Context) -> Outcome {
    context.deliver(&context.message("")).map(|_| String::new()).into()
}

pub fn no_header(context: &Context) -> Outcome {
    let each = || {
        for content in ["just a line\r\n", "\r\na body after no header\r\n"] {
            let message = context.message(content);
            let delivery = context.deliver(&message).map_err(|error| format!("{content:?}: {error}"))?;
            compare_end(&message.content, &delivery.content)
                .map_err(|error| format!("{content:?} {error}"))?;
        }
        Ok(String::new())
    };
    each().into()
}

pub fn reject(context: &Context) -> Outcome {
    let Some(content) = &context.options.rejected else {
        return Outcome::Silent("--reject names no message".into());
    };
    let rejected = || {
        let message = context.message(wire(content));
        let reply = context.send(&message)?;
        context.nothing_arrived(&message, &format!("answered {reply}"))?;
        if reply.class() != 5 {
            return Err(format!("answered {reply}"));
        }
        if !reply.texts().iter().all(|text| text.starts_with("5.")) {
            return Err(format!("{reply} has no enhanced status code 5.x.x"));
        }
        // The next one must not suffer.
        unchanged(context, "Hello.\r\n").map_err(|error| format!("the message after it: {error}"))?;
        Ok(reply.to_string())
    };
    rejected().into()
}

/// A file as it goes over the wire.
fn wire(file: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(file.len() + 100);
    for line in file.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        wire.extend_from_slice(b"\r\n");
    }
    wire
}
