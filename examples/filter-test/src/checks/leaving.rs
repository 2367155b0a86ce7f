//! Clients that go. Postfix says QUIT when its own client has left, in the middle of a message too, and does not wait.

use crate::check::{Context, Outcome};
use crate::client::Client;
use crate::message::{Message, ordinary};

/// How far a session has come when it is left.
const PHASES: [&str; 5] = ["the connection", "EHLO", "MAIL", "RCPT", "the second RCPT"];

fn come_to<'a>(context: &'a Context, phase: usize, message: &Message) -> Result<Client<'a>, String> {
    let mut client = context.connect()?;
    let mut lines = vec![b"EHLO front.example.com".to_vec(), message.mail.clone(), message.rcpt[0].clone()];
    lines.push(b"RCPT TO:<carol@example.com>".to_vec());
    for line in &lines[..phase] {
        client.expect(line, 2)?;
    }
    Ok(client)
}

pub fn quit(context: &Context) -> Outcome {
    let each = || {
        for (phase, name) in PHASES.iter().enumerate() {
            let message = context.message(ordinary("Hello.\r\n"));
            let mut client = come_to(context, phase, &message)?;
            client.expect("QUIT", 2).map_err(|error| format!("after {name}: {error}"))?;
            context.nothing_arrived(&message, &format!("QUIT after {name}"))?;
        }
        Ok(String::new())
    };
    each().into()
}

pub fn hang_up(context: &Context) -> Outcome {
    let each = || {
        for (phase, name) in PHASES.iter().enumerate() {
            let message = context.message(ordinary("Hello.\r\n"));
            come_to(context, phase, &message)?.hang_up();
            context.nothing_arrived(&message, &format!("hung up after {name}"))?;
            still_there(context).map_err(|error| format!("after {name}: {error}"))?;
        }
        Ok(String::new())
    };
    each().into()
}

pub fn half(context: &Context) -> Outcome {
    let each = || {
        for (content, when) in [
            (&b""[..], "right after DATA"),
            (b"Subject: half", "within a header line"),
            (b"Subject: half\r\n\r\nhalf of it\r\n", "after a line"),
            (b"Subject: half\r\n\r\nhalf of it\r\n.", "after a dot"),
            (b"Subject: half\r\n\r\nhalf of it\r\n.\r", "after a dot and CR"),
        ] {
            for quits in [false, true] {
                let message = context.message(content);
                let mut client = come_to(context, 3, &message)?;
                client.expect("DATA", 3)?;
                client.send(content);
                if quits {
                    client.quit();
                } else {
                    client.hang_up();
                }
                let what = if quits { "QUIT" } else { "hung up" };
                context.nothing_arrived(&message, &format!("{what} {when}"))?;
            }
        }
        still_there(context)?;
        Ok(String::new())
    };
    each().into()
}

/// An ordinary message goes through.
fn still_there(context: &Context) -> Result<(), String> {
    let message = context.message(ordinary("Hello.\r\n"));
    context.deliver(&message).map_err(|error| format!("the next message: {error}"))?;
    Ok(())
}
