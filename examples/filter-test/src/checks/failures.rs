//! A server behind the filter that refuses or goes away.

use std::time::Duration;

use crate::check::{Context, Outcome};
use crate::message::ordinary;
use crate::sink::{Failure, Stage};

/// How long a filter is given to say yes too early.
const TOO_EARLY: Duration = Duration::from_millis(1000);

pub fn mail(context: &Context) -> Outcome {
    refused(context, Stage::Mail)
}

pub fn rcpt(context: &Context) -> Outcome {
    refused(context, Stage::Rcpt)
}

pub fn data(context: &Context) -> Outcome {
    refused(context, Stage::Data)
}

pub fn end(context: &Context) -> Outcome {
    refused(context, Stage::End)
}

fn refused(context: &Context, stage: Stage) -> Outcome {
    let each = || {
        let mut notes = Vec::new();
        for refusal in ["450 4.2.0 filter-test says later", "554 5.7.0 filter-test says no"] {
            context.sink.fail(stage, Failure::Say(refusal.into()), "");
            let message = context.message(ordinary("Hello.\r\n"));
            let mut client = context.session()?;
            let reply = client.transaction(&message)?;
            client.quit();
            context.sink.polite();
            let wanted = refusal.as_bytes()[0] - b'0';
            // Without a reply Postfix answers 451.
            let class = if reply.is_end() { 4 } else { reply.class() };
            if class != wanted {
                return Err(format!("\"{refusal}\" became {reply}"));
            }
            if !reply.lines.iter().any(|line| line.contains(&refusal[4..])) {
                notes.push(format!("\"{refusal}\" became {reply}"));
            }
        }
        Ok(notes.join(", "))
    };
    each().into()
}

pub fn partly(context: &Context) -> Outcome {
    let two = || {
        context.sink.fail(
            Stage::Rcpt,
            Failure::Say("550 5.1.1 filter-test knows no such user".into()),
            "nobody@",
        );
        let message = context.message(ordinary("Hello.\r\n"));
        let mut client = context.session()?;
        for line in message.xforward.iter().chain([&message.mail]) {
            client.expect(line, 2)?;
        }
        let first = client.command("RCPT TO:<nobody@example.com>")?;
        client.expect(&message.rcpt[0], 2)?;
        client.expect("DATA", 3)?;
        client.send(&message.content);
        client.send(b".\r\n");
        let last = client.reply()?;
        client.quit();
        if first.class() == 2 && last.class() == 2 {
            return Err(format!(
                "RCPT was answered {first} and the end of data {last}: nobody learns of the refusal"
            ));
        }
        if first.class() == 2 {
            return Ok(format!("the whole message is refused: {last}"));
        }
        context.arrived(&message, &last)?;
        Ok(String::new())
    };
    two().into()
}

pub fn early_yes(context: &Context) -> Outcome {
    let hold = || {
        context.sink.fail(Stage::End, Failure::Wait, "");
        let message = context.message(ordinary("Hello.\r\n"));
        let mut client = context.session()?;
        let reply = client.envelope(&message)?;
        if reply.class() != 2 {
            return Err(format!("the envelope was refused: {reply}"));
        }
        client.expect("DATA", 3)?;
        client.send(&message.content);
        client.send(b".\r\n");
        // As long as the server behind thinks, so must the filter.
        let reached = context.sink.wait_until_reached(context.options.timeout);
        let heard = client.hears_within(TOO_EARLY);
        context.sink.polite();
        let reply = client.reply()?;
        client.quit();
        if !reached && reply.class() == 2 {
            return Err(format!("answered {reply}, and the server behind has not heard of it"));
        }
        if heard && reply.class() == 2 {
            return Err(format!("answered {reply} while the server behind had not"));
        }
        context.arrived(&message, &reply)?;
        Ok(String::new())
    };
    hold().into()
}

pub fn lost(context: &Context) -> Outcome {
    let each = || {
        for stage in [Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Content, Stage::End] {
            context.sink.fail(stage, Failure::Close, "");
            let message = context.message(ordinary(&"Hello.\r\n".repeat(10_000)));
            let reply = context.send(&message).map_err(|error| format!("{stage:?}: {error}"))?;
            context.sink.polite();
            if !(reply.is_end() || reply.class() == 4) {
                return Err(format!("the server behind hung up at {stage:?}: answered {reply}"));
            }
        }
        let message = context.message(ordinary("Hello.\r\n"));
        context.deliver(&message).map_err(|error| format!("the next message: {error}"))?;
        Ok(String::new())
    };
    each().into()
}

pub fn down(context: &Context) -> Outcome {
    context.sink.stop();
    let message = context.message(ordinary("Hello.\r\n"));
    let reply = context.connect().and_then(|mut client| {
        let reply = client.command("EHLO front.example.com")?;
        if reply.class() == 2 { client.transaction(&message) } else { Ok(reply) }
    });
    if let Err(error) = context.sink.listen() {
        return Outcome::Fail(error);
    }
    let again = || {
        let note = match reply {
            // A connection that is closed or greeted with anything but 2xx becomes 451 at the front.
            Err(error) if error.contains("greeting") => {
                "refused with the greeting, which the client does not see".into()
            }
            Err(error) => return Err(error),
            Ok(reply) if reply.is_end() || reply.class() == 4 => reply.to_string(),
            Ok(reply) => return Err(format!("answered {reply}")),
        };
        let message = context.message(ordinary("Hello.\r\n"));
        context.deliver(&message).map_err(|error| format!("the next message: {error}"))?;
        Ok(note)
    };
    again().into()
}
