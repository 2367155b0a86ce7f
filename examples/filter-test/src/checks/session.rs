//! Several commands and messages in a session.

use crate::check::{Context, Outcome};
use crate::message::{compare, ordinary};

pub fn pipelining(context: &Context) -> Outcome {
    if context.extension("PIPELINING").is_none() {
        return Outcome::Silent("not announced".into());
    }
    let group = || {
        for _ in 0..2 {
            let mut client = context.session()?;
            let message = context.message(ordinary("Hello.\r\n"));
            let mut lines = message.xforward.clone();
            lines.extend([message.mail.clone()]);
            lines.extend(message.rcpt.clone());
            lines.push(b"RCPT TO:<another@example.com>".to_vec());
            lines.push(b"DATA".to_vec());
            let all: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\r\n"[..]].concat()).collect();
            client.send(&all);
            for line in &lines {
                let class = if line == b"DATA" { 3 } else { 2 };
                client.expect_reply(&String::from_utf8_lossy(line), class)?;
            }
            client.send(&message.content);
            // The next command right behind the message.
            client.send(b".\r\nNOOP\r\n");
            let reply = client.expect_reply("end of data", 2)?;
            client.expect_reply("NOOP behind the message", 2)?;
            compare(&message.content, &context.arrived(&message, &reply)?.content)?;
            client.quit();
        }
        Ok(String::new())
    };
    group().into()
}

pub fn slow_pieces(context: &Context) -> Outcome {
    let bytes = || {
        let message = context.message(ordinary("Hello.\r\n\r\nx\r\n"));
        let mut client = context.session()?;
        let mut lines = message.xforward.clone();
        lines.extend([message.mail.clone(), message.rcpt[0].clone(), b"DATA".to_vec()]);
        for line in &lines {
            for byte in [line, &b"\r\n"[..]].concat() {
                client.send(&[byte]);
            }
            client.expect_reply(&String::from_utf8_lossy(line), if line == b"DATA" { 3 } else { 2 })?;
        }
        for byte in [&message.content, &b".\r\n"[..]].concat() {
            client.send(&[byte]);
        }
        let reply = client.reply()?;
        client.quit();
        compare(&message.content, &context.arrived(&message, &reply)?.content)?;
        Ok(String::new())
    };
    bytes().into()
}

pub fn rset(context: &Context) -> Outcome {
    let reset = || {
        let dropped = context.message(ordinary("Hello.\r\n"));
        let message = context.message(ordinary("Hello again.\r\n"));
        let mut client = context.session()?;
        let reply = client.envelope(&dropped)?;
        if reply.class() != 2 {
            return Err(format!("the envelope was refused: {reply}"));
        }
        client.expect("RSET", 2)?;
        let reply = client.transaction(&message)?;
        let delivery = context.arrived(&message, &reply)?;
        client.quit();
        if delivery.rcpt.len() != 1 {
            return Err(format!("the message has {} recipients in place of one", delivery.rcpt.len()));
        }
        context.nothing_arrived(&dropped, "what was reset")?;
        Ok(String::new())
    };
    reset().into()
}

pub fn several(context: &Context) -> Outcome {
    let several = || {
        let mut client = context.session()?;
        for number in 1..=3 {
            let mut message = context.message(ordinary(&format!("Message {number}.\r\n")));
            message
                .rcpt
                .extend((1..number).map(|more| format!("RCPT TO:<more{more}@example.com>").into_bytes()));
            let said = |error| format!("message {number}: {error}");
            let reply = client.transaction(&message).map_err(said)?;
            let delivery = context.arrived(&message, &reply).map_err(said)?;
            compare(&message.content, &delivery.content).map_err(said)?;
            if delivery.rcpt.len() != message.rcpt.len() {
                return Err(format!("message {number} has {} recipients", delivery.rcpt.len()));
            }
        }
        client.expect("QUIT", 2)?;
        Ok(String::new())
    };
    several().into()
}
