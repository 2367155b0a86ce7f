//! Lists of destinations, in an alias or in a file (spec local-delivery 5).

use std::io::{self, BufRead};

use destinations::{Destination, parse};
use ipc::delivery::Completion;
use ipc::resolve::Flags;

use crate::attributes::Attributes;
use crate::expansion::{Expansion, both};

impl Expansion<'_> {
    /// Delivers to all that a text lists; nothing when it lists nothing.
    pub(crate) fn text(&self, at: &Attributes, text: &[u8]) -> Option<Completion> {
        let at = at.deeper();
        let found = parse(text);
        if found.is_empty() {
            return None;
        }
        let each = found.into_iter().map(|destination| self.destination(&at, destination));
        Some(each.fold(Completion::All, both))
    }

    /// Delivers to all that a file lists, up to the first line of which something has to be tried again; nothing when it lists
    /// nothing.
    pub(crate) fn lines(&self, at: &Attributes, mut file: impl BufRead) -> Option<Completion> {
        let mut completion = None;
        loop {
            match read_piece(&mut file, self.params().line_length_limit) {
                Ok(None) => return completion,
                Ok(Some(line)) if line.starts_with(b"#") => {}
                Ok(Some(line)) => completion = self.text(at, &line).or(completion),
                Err(error) => {
                    let text = format!("error reading forwarding file: {}", sys::error_text(&error));
                    return Some(self.undelivered(at, "4.3.0", text));
                }
            }
            if completion == Some(Completion::Deferred) {
                return completion;
            }
        }
    }

    fn destination(&self, at: &Attributes, destination: Destination) -> Completion {
        match destination {
            Destination::File(path) => self.file(at, path),
            Destination::HomeFile(path) => self.home_file(at, &path),
            Destination::Command(command) => self.listed_command(at, &command),
            Destination::Include(path) => self.include(at, &path),
            Destination::Address(address) => self.address(at, &address),
        }
    }

    /// Delivers to an address, given in external form: here, or elsewhere.
    pub(crate) fn address(&self, at: &Attributes, address: &[u8]) -> Completion {
        let mut canonical = self.canonical(address);
        if let Some(extension) = &at.unmatched {
            let place = canonical.iter().rposition(|&byte| byte == b'@').unwrap_or(canonical.len());
            canonical.splice(place..place, extension.iter().copied());
        }
        let resolved = self.addresses().resolve(&at.sender, &canonical);
        // It is no address of its own yet: the list's is told of.
        if resolved.flags.contains(Flags::FAIL) {
            return self.undelivered(at, "4.3.0", "address resolver failure");
        }
        if resolved.flags.contains(Flags::ERROR) {
            let text = [b"bad recipient address syntax: ", &resolved.recipient[..]].concat();
            return self.undelivered(at, "5.1.3", text);
        }
        let mut inner = at.deeper();
        inner.recipient.address = resolved.recipient;
        if resolved.transport == self.params().service.as_bytes() {
            self.recipient(inner)
        } else {
            self.forward(&inner)
        }
    }
}

/// A line, with its end, which is part of what is quoted there; or as much of it as is read at once.
fn read_piece(file: &mut impl BufRead, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let buffer = file.fill_buf()?;
        if buffer.is_empty() {
            return Ok((!line.is_empty()).then_some(line));
        }
        let room = limit.max(1) - line.len();
        let part = &buffer[..room.min(buffer.len())];
        if let Some(end) = part.iter().position(|&byte| byte == b'\n') {
            line.extend_from_slice(&part[..=end]);
            file.consume(end + 1);
            return Ok(Some(line));
        }
        let length = part.len();
        line.extend_from_slice(part);
        file.consume(length);
        if line.len() >= limit.max(1) {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::read_piece;

    #[test]
    fn lines_in_pieces() {
        let mut input = &b"one\n\nlonger than that\nlast"[..];
        let mut pieces = Vec::new();
        while let Some(piece) = read_piece(&mut input, 8).unwrap() {
            pieces.push(String::from_utf8(piece).unwrap());
        }
        assert_eq!(pieces, ["one\n", "\n", "longer t", "han that", "\n", "last"]);
    }
}
