//! What is printed: plain text, and colours where a person looks at a terminal that has them.
//!
//! A step of a dialogue is one line: what the client said and what the server answered. Nothing here is longer for being
//! seen on a terminal, so that what is copied from there and what is in a file are the same.

use std::io::{IsTerminal, stdout};

/// How lines are painted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Show {
    colour: bool,
}

#[derive(Clone, Copy)]
enum Paint {
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
    Cyan = 36,
}

impl Show {
    /// Colours on a terminal, unless NO_COLOR is set (no-color.org) or the terminal is a dumb one.
    pub(crate) fn new() -> Show {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Show { colour: stdout().is_terminal() && !set("NO_COLOR") && !dumb }
    }

    fn paint(self, paint: Paint, text: &str) -> String {
        if self.colour { format!("\x1b[{}m{text}\x1b[0m", paint as u8) } else { text.to_owned() }
    }

    /// The beginning of a part.
    pub(crate) fn title(self, text: &str) {
        println!("\n{}", self.paint(Paint::Bold, &format!("== {text}")));
    }

    /// A remark of our own.
    pub(crate) fn remark(self, text: &str) {
        println!("   {}", self.paint(Paint::Dim, text));
    }

    /// One step: what was said, or nothing when the server speaks first, and the reply to it.
    pub(crate) fn step(self, said: &str, reply: &str) {
        let said = if said.is_empty() { String::new() } else { format!("C: {said}") };
        println!("{}  {}", self.paint(Paint::Cyan, &format!("{said:54}")), self.reply(&one_line(reply)));
    }

    fn reply(self, reply: &str) -> String {
        let paint = match reply.as_bytes().first() {
            Some(b'2' | b'3') => Paint::Green,
            Some(b'4') => Paint::Yellow,
            _ => Paint::Red,
        };
        format!("S: {}", self.paint(paint, reply))
    }

    /// The line of a summary: whether something was as it should be, what it was, and the words that decided.
    pub(crate) fn verdict(self, well: bool, what: &str, words: &str) {
        let mark = if well {
            self.paint(Paint::Green, "as it should be")
        } else {
            self.paint(Paint::Red, "WRONG          ")
        };
        println!("   {mark}  {what:34} {words}");
    }

    /// A line of a log.
    pub(crate) fn log(self, line: &str) {
        if line.contains("warning: ") || line.contains("status=deferred") {
            println!("{}", self.paint(Paint::Yellow, line));
        } else if line.contains("reject: ") || line.contains("status=bounced") {
            println!("{}", self.paint(Paint::Red, line));
        } else if line.contains("status=sent") {
            println!("{}", self.paint(Paint::Green, line));
        } else {
            println!("{line}");
        }
    }
}

/// A reply in one line: of the one to EHLO the name, and how many extensions there are.
fn one_line(reply: &str) -> String {
    let lines: Vec<&str> = reply.lines().collect();
    match lines.as_slice() {
        [] => String::new(),
        [line] => (*line).to_owned(),
        [first, rest @ ..] => {
            let (code, text) = first.split_at_checked(4).unwrap_or((first, ""));
            format!("{} {text} and {} extensions", code.trim_end_matches('-'), rest.len())
        }
    }
}
