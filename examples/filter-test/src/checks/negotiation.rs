//! Greeting, EHLO, XFORWARD, the form of replies.

use crate::check::{Context, Outcome};
use crate::message::ordinary;

pub fn greeting(context: &Context) -> Outcome {
    context
        .connect()
        .map(|client| {
            client.quit();
            String::new()
        })
        .into()
}

pub fn ehlo(context: &Context) -> Outcome {
    let announce = || {
        let mut client = context.connect()?;
        let texts = client.expect("EHLO front.example.com", 2)?.texts();
        let keywords: Vec<&str> =
            texts.iter().skip(1).filter_map(|text| text.split_ascii_whitespace().next()).collect();
        let note =
            format!("announces {}", if keywords.is_empty() { "nothing".into() } else { keywords.join(" ") });
        *context.announced.lock().expect("no check panics") = texts;
        client.quit();
        Ok(note)
    };
    announce().into()
}

pub fn announced(context: &Context) -> Outcome {
    match context.extension("XFORWARD") {
        None => {
            Outcome::Fail("not announced: neither the filter nor the log behind it knows the client".into())
        }
        Some(attributes) => {
            let missing: Vec<&str> = ["NAME", "ADDR"]
                .into_iter()
                .filter(|name| !attributes.iter().any(|taken| taken == name))
                .collect();
            if missing.is_empty() {
                Outcome::Pass(attributes.join(" "))
            } else {
                Outcome::Fail(format!("without {}", missing.join(" ")))
            }
        }
    }
}

/// Clients as Postfix describes them.
const CLIENTS: [[(&str, &str); 7]; 3] = [
    [
        ("NAME", "spike.example.net"),
        ("ADDR", "192.0.2.1"),
        ("PORT", "54321"),
        ("HELO", "spike"),
        ("IDENT", "4dHk1Z2vXz"),
        ("PROTO", "ESMTP"),
        ("SOURCE", "REMOTE"),
    ],
    [
        ("NAME", "[UNAVAILABLE]"),
        ("ADDR", "IPv6:2001:db8::1"),
        ("PORT", "[UNAVAILABLE]"),
        ("HELO", "a+2Bb+3Dc+20d+C3+A9"),
        ("IDENT", "[UNAVAILABLE]"),
        ("PROTO", "SMTP"),
        ("SOURCE", "LOCAL"),
    ],
    [
        ("NAME", "a-name-of-many-letters.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example.net"),
        ("ADDR", "203.0.113.255"),
        ("PORT", "1"),
        ("HELO", "[192.0.2.1]"),
        ("IDENT", "x"),
        ("PROTO", "ESMTP"),
        ("SOURCE", "REMOTE"),
    ],
];

pub fn xforward(context: &Context) -> Outcome {
    let Some(attributes) = context.extension("XFORWARD") else {
        return Outcome::Silent("not announced".into());
    };
    let forward = || {
        let mut encoded_anew = false;
        for values in &CLIENTS {
            let mut message = context.message(ordinary("Hello.\r\n"));
            message.forward(values, &attributes);
            let delivery = context.deliver(&message)?;
            encoded_anew |= arrived(values, &attributes, &delivery.xforward)?;
        }
        Ok(if encoded_anew { "values are the same, encoded in another way" } else { "" }.into())
    };
    forward().into()
}

/// Whether these values have arrived; true when one was encoded in another way.
fn arrived(values: &[(&str, &str)], attributes: &[String], xforward: &[String]) -> Result<bool, String> {
    let mut encoded_anew = false;
    for (name, value) in values.iter().filter(|(name, _)| attributes.iter().any(|taken| taken == name)) {
        let start = format!("{name}=");
        let mut found = xforward.iter().filter_map(|word| {
            let (before, after) = word.split_at_checked(start.len())?;
            before.eq_ignore_ascii_case(&start).then_some(after)
        });
        // What was said last counts.
        let Some(found) = found.next_back() else {
            // To say nothing and to say that nothing is known are the same.
            if *value == "[UNAVAILABLE]" {
                continue;
            }
            return Err(format!("{name}={value} has not arrived"));
        };
        if found != *value {
            if decode(found) != decode(value) {
                return Err(format!("{name}={value} arrived as {name}={found}"));
            }
            encoded_anew = true;
        }
    }
    Ok(encoded_anew)
}

/// xtext, without a look at what is malformed.
fn decode(text: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'+') {
            Some(byte) => {
                decoded.push(byte);
                rest = &after[2..];
            }
            None => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    decoded
}

pub fn anew(context: &Context) -> Outcome {
    let Some(attributes) = context.extension("XFORWARD") else {
        return Outcome::Silent("not announced".into());
    };
    let twice = || {
        let mut client = context.session()?;
        for (number, values) in [&CLIENTS[0], &CLIENTS[2]].into_iter().enumerate() {
            let mut message = context.message(ordinary("Hello.\r\n"));
            message.forward(values, &attributes);
            let reply = client.transaction(&message)?;
            if number > 0 && reply.is_end() {
                return Ok("no second message: several-messages says more".into());
            }
            arrived(values, &attributes, &context.arrived(&message, &reply)?.xforward)?;
        }
        client.quit();
        Ok(String::new())
    };
    twice().into()
}

pub fn replies(context: &Context) -> Outcome {
    let malformed = context.malformed.lock().expect("no check panics");
    match malformed.first() {
        None => Outcome::Pass(String::new()),
        Some(first) if malformed.len() == 1 => Outcome::Fail(first.clone()),
        Some(first) => Outcome::Fail(format!("{first}, and {} more", malformed.len() - 1)),
    }
}
