//! An object of texts, as JSON (RFC 8259).

use std::fmt::Write;

/// An object that is being written.
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn begin() -> Self {
        let mut text = String::with_capacity(512);
        text.push('{');
        Self(text)
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        string(value, &mut self.0);
    }

    pub(crate) fn number(&mut self, name: &str, value: u32) {
        self.name(name);
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{value}");
    }

    /// An object within it.
    pub(crate) fn texts(&mut self, name: &str, members: &[(&str, &str)]) {
        self.name(name);
        self.0.push('{');
        members.iter().for_each(|(name, value)| self.text(name, value));
        self.0.push('}');
    }

    pub(crate) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn name(&mut self, name: &str) {
        if !self.0.ends_with('{') {
            self.0.push(',');
        }
        string(name, &mut self.0);
        self.0.push(':');
    }
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\0'..=' ' if c != ' ' => _ = write!(out, "\\u{:04x}", u32::from(c)),
            other => out.push(other),
        }
    }
    out.push('"');
}
