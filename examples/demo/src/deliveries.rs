//! What becomes of mail that was let in: two mailboxes, a message that comes back, and one that waits.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::instance::Instance;
use crate::show::Show;

/// How long all deliveries together may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the command behind the transport of example.net says.
const REASON: &str = "the ferry does not sail at night";

/// A verdict: whether it was as expected, what it is about, and the words that decided.
type Verdict = (bool, &'static str, String);

/// Hands in two messages by sendmail, waits until every message is where it belongs, and shows where.
///
/// # Errors
/// When a command cannot be run.
pub(crate) fn play(instance: &Instance, show: Show) -> Result<Vec<Verdict>, String> {
    show.title("two messages from ann, by sendmail: one for nobody, one for a host that takes none now");
    for recipient in ["nobody-here@example.com", "dave@example.net"] {
        let content = format!("From: ann@example.org\nTo: {recipient}\nSubject: greetings\n\nHow are you?\n");
        let arguments = ["-f", "ann@example.org", "-i", recipient];
        let sent = instance.command_with_input("sendmail", &arguments, content.as_bytes())?;
        let said = String::from_utf8_lossy(&sent.stderr).into_owned();
        show.remark(&format!("sendmail {}: {} {said}", arguments.join(" "), sent.status));
    }

    let deadline = Instant::now() + PATIENCE;
    let (bob, ann, listing) = loop {
        let bob = mailbox(instance);
        let ann = maildir(instance);
        let listed = instance.command("postqueue", &["-p"])?;
        let listing = String::from_utf8_lossy(&[listed.stdout, listed.stderr].concat()).into_owned();
        let all_there =
            bob.len() == 2 && ann.len() == 2 && listing.contains(REASON) && listing.contains("in 1 Request");
        if all_there || Instant::now() >= deadline {
            break (bob, ann, listing);
        }
        thread::sleep(Duration::from_millis(50));
    };

    show.title(&format!("bob's mailbox file, written by local ({})", instance.mailbox().display()));
    bob.iter().for_each(|message| show_message(message, show));
    show.title(&format!("ann's maildir, written by virtual ({})", instance.maildir().display()));
    ann.iter().for_each(|message| show_message(message, show));
    show.title("the queue (postqueue -p)");
    print!("{listing}");

    let stranger = "Received: from stranger.example.org (stranger.example.org [203.0.113.66])";
    let returned = "<nobody-here@example.com>: unknown user: \"nobody-here\"";
    let finds = |messages: &[String], words: &str| messages.iter().any(|message| message.contains(words));
    let reason = listing.lines().find(|line| line.contains(REASON)).unwrap_or("no reason is told").trim();
    Ok(vec![
        (finds(&bob, "Subject: lunch"), "it is in bob's mailbox", count(&bob)),
        (finds(&ann, "Subject: lunch"), "it is in ann's maildir", count(&ann)),
        (finds(&bob, stranger), "the stranger's mail has his address", stranger.to_owned()),
        (finds(&ann, returned), "one for nobody comes back to ann", returned.to_owned()),
        (listing.contains(REASON), "one that cannot go now waits", reason.to_owned()),
    ])
}

fn count(messages: &[String]) -> String {
    format!("{} messages there", messages.len())
}

/// The messages of bob's mailbox file.
fn mailbox(instance: &Instance) -> Vec<String> {
    let text = String::from_utf8_lossy(&fs::read(instance.mailbox()).unwrap_or_default()).into_owned();
    let mut messages: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        if line.starts_with("From ") {
            messages.push(String::new());
        }
        if let Some(message) = messages.last_mut() {
            message.push_str(line);
        }
    }
    messages
}

/// The messages of ann's maildir, in the order of their names.
fn maildir(instance: &Instance) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(instance.maildir().join("new"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    names.sort();
    names
        .iter()
        .map(|name| String::from_utf8_lossy(&fs::read(name).unwrap_or_default()).into_owned())
        .collect()
}

/// The headers that a delivery is known by, and of a returned message why it came back.
fn show_message(message: &str, show: Show) {
    for line in message.lines() {
        let header = ["Return-Path:", "X-Original-To:", "Delivered-To:", "From:", "Subject:"];
        if header.iter().any(|name| line.starts_with(name)) || line.starts_with('<') {
            println!("   {line}");
        }
        // What follows is the message that came back.
        if line.starts_with("Content-Description: Delivery report") {
            break;
        }
    }
    show.remark("--");
}
