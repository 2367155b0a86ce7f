//! Sender, recipients, and what is said with them.

use crate::check::{Context, Outcome};
use crate::message::{Message, ordinary};
use crate::sink::Delivery;

pub fn envelope(context: &Context) -> Outcome {
    let each = || {
        for (sender, more) in [
            ("alice@example.net", &[][..]),
            ("", &["carol@example.com"][..]),
            ("Alice+Tag=x@EXAMPLE.net", &["dave@example.com", "Eve@Example.Com", "root@example.com"]),
            (r#""a b>\"c"@example.net"#, &[r#""d e"@example.com"#]),
            ("a@[192.0.2.1]", &["x%y@example.com", "a!b@example.com"]),
        ] {
            let mut message = context.message(ordinary("Hello.\r\n"));
            message.mail = format!("MAIL FROM:<{sender}>").into_bytes();
            message.rcpt.extend(more.iter().map(|recipient| format!("RCPT TO:<{recipient}>").into_bytes()));
            let delivery = context.deliver(&message).map_err(|error| format!("<{sender}>: {error}"))?;
            same_paths(&message, &delivery)?;
        }
        Ok(String::new())
    };
    each().into()
}

fn same_paths(message: &Message, delivery: &Delivery) -> Result<(), String> {
    let show = |lines: &[Vec<u8>]| lines.iter().map(|line| path(line)).collect::<Vec<_>>().join(", ");
    if path(&message.mail) != path(&delivery.mail) {
        return Err(format!("sender {} arrived as {}", path(&message.mail), path(&delivery.mail)));
    }
    let (sent, arrived) = (show(&message.rcpt), show(&delivery.rcpt));
    if sent == arrived { Ok(()) } else { Err(format!("recipients {sent} arrived as {arrived}")) }
}

/// The path of a command, with its brackets.
fn path(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let start = text.find('<').unwrap_or(0);
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in text[start..].char_indices() {
        match c {
            '>' if !quoted => return text[start..start + at + 1].to_string(),
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    text[start..].to_string()
}

pub fn parameters(context: &Context) -> Outcome {
    let pass = || {
        let mut message = context.message(ordinary("Hello.\r\n"));
        let size = message.content.len();
        let mail = [&format!("SIZE={size}"), "BODY=8BITMIME", "RET=HDRS", "ENVID=x+2By"];
        let rcpt = ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;o+2Bp@example.com"];
        message.mail.extend_from_slice(format!(" {}", mail.join(" ")).as_bytes());
        message.rcpt[0].extend_from_slice(format!(" {}", rcpt.join(" ")).as_bytes());
        let delivery = context.deliver(&message)?;
        let missing = |line: &[u8], wanted: &[&str]| -> Vec<String> {
            let words: Vec<String> =
                String::from_utf8_lossy(line).split_ascii_whitespace().map(str::to_ascii_uppercase).collect();
            let is_there = |word: &str| words.contains(&word.to_ascii_uppercase());
            wanted.iter().filter(|word| !is_there(word)).map(ToString::to_string).collect()
        };
        let mut lost = missing(&delivery.mail, &mail);
        lost.extend(missing(&delivery.rcpt[0], &rcpt));
        // These two say what the content is like, and a filter may know better.
        let (content, others): (Vec<_>, Vec<_>) =
            lost.into_iter().partition(|word| word.starts_with("SIZE") || word.starts_with("BODY"));
        if !others.is_empty() {
            return Err(format!("{} did not arrive", others.join(" ")));
        }
        Ok(if content.is_empty() { String::new() } else { format!("without {}", content.join(" ")) })
    };
    pass().into()
}

pub fn odd(context: &Context) -> Outcome {
    let each = || {
        for (mail, rcpt) in
            [("mail from:<", "rcpt to:<"), ("MAIL FROM: <", "RCPT TO: <"), ("mail  From:  <", "Rcpt  tO:  <")]
        {
            let mut message = context.message(ordinary("Hello.\r\n"));
            let spell = |line: &[u8], start: &str| {
                let rest = String::from_utf8_lossy(line);
                let rest = rest.split_once('<').map_or("", |(_, rest)| rest);
                format!("{start}{rest}").into_bytes()
            };
            message.mail = spell(&message.mail, mail);
            message.rcpt = vec![spell(&message.rcpt[0], rcpt)];
            let delivery = context.deliver(&message).map_err(|error| format!("{mail:?}: {error}"))?;
            same_paths(&message, &delivery)?;
        }
        Ok(String::new())
    };
    each().into()
}
