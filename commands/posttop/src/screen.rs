//! The terminal: keys in, pictures out, until the end.
//!
//! A thread looks at the system, so that keys are answered at once. The size of the terminal is asked again with each turn. The
//! terminal is as it was when this ends, by a key, by a signal, or because the terminal has gone.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use config::Config;
use sys::signal::{Interrupts, Signal};
use sys::terminal::Raw;

use crate::pages::Page;
use crate::picture::{self, Line, Look, Over, State};
use crate::snapshot::{Sampler, Snapshot};
use crate::story::{self, Deed};

/// How long a turn waits for a key.
const TURN: Duration = Duration::from_millis(200);
/// Bytes that a terminal takes without making us wait, when it takes any.
const AT_ONCE: usize = 256;
/// Turns that the end waits for a terminal that takes nothing.
const LEAVING: u32 = 5;
/// Of a terminal that does not know its size.
const USUAL: (u16, u16) = (80, 24);
/// Another screen than the one that was there, without a cursor; and back.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// What the thread is asked for.
enum Wish {
    /// Look now.
    Look,
    /// The same, at the queue too.
    LookAtQueue,
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Escape,
    Byte(u8),
}

/// Shows the screen until somebody ends it.
///
/// # Errors
/// The terminal cannot be used, or has gone.
pub(crate) fn run(config: &Config, sampler: Sampler, interval: Duration) -> io::Result<()> {
    for signal in ENDING {
        sys::signal::catch(signal, Interrupts::Yes)?;
    }
    let (wishes, wished) = channel();
    let (samples, looks) = channel();
    std::thread::Builder::new()
        .name("sampler".into())
        .spawn(move || sample(sampler, interval, &wished, &samples))?;
    let raw = Raw::begin(io::stdin())?;
    put(ENTER, || false)?;
    let screen =
        Screen { config, wishes, looks, state: State::default(), snapshot: None, asked: None, ended: false };
    let outcome = screen.turns();
    let mut turns = 0;
    let _ = put(LEAVE, || {
        turns += 1;
        turns > LEAVING
    });
    drop(raw);
    outcome
}

/// Writes to a terminal that may take nothing for a while, until it is given up. It takes so much at once when it is ready.
fn put(bytes: &[u8], mut gives_up: impl FnMut() -> bool) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() && !gives_up() {
        let written = match sys::poll::writable(io::stdout(), Some(TURN)) {
            Ok(true) => sys::fd::write(io::stdout(), &rest[..rest.len().min(AT_ONCE)]),
            Ok(false) => Ok(0),
            Err(error) => Err(error),
        };
        match written {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether a signal has come that ends the program.
fn is_ending() -> bool {
    ENDING.into_iter().any(sys::signal::taken)
}

fn sample(mut sampler: Sampler, interval: Duration, wished: &Receiver<Wish>, samples: &Sender<Snapshot>) {
    while samples.send(sampler.sample()).is_ok() {
        match wished.recv_timeout(interval) {
            Ok(Wish::LookAtQueue) => sampler.forget_queue(),
            Ok(Wish::Look) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

struct Screen<'c> {
    config: &'c Config,
    wishes: Sender<Wish>,
    looks: Receiver<Snapshot>,
    state: State,
    snapshot: Option<Snapshot>,
    /// What is to be done with which message, once it is confirmed.
    asked: Option<(Deed, String)>,
    ended: bool,
}

impl Screen<'_> {
    fn turns(mut self) -> io::Result<()> {
        let mut drawn = Vec::new();
        while !self.ended {
            if let Some(newest) = self.looks.try_iter().last() {
                self.snapshot = Some(newest);
            }
            let (width, height) = sys::terminal::size(io::stdout()).unwrap_or(USUAL);
            if let Some(snapshot) = &self.snapshot {
                let lines = picture::screen(snapshot, &mut self.state, width.into(), height.into());
                let picture = painted(&lines);
                if picture != drawn {
                    let ended = &mut self.ended;
                    put(&picture, || {
                        *ended |= is_ending();
                        *ended
                    })?;
                    drawn = picture;
                }
            }
            if self.ended || is_ending() {
                return Ok(());
            }
            match sys::poll::readable(io::stdin(), Some(TURN)) {
                Ok(true) => self.keys(usize::from(height))?,
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn keys(&mut self, height: usize) -> io::Result<()> {
        let mut bytes = [0; 64];
        let count = match sys::fd::read(io::stdin(), &mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            other => other?,
        };
        for key in read_keys(&bytes[..count]) {
            self.key(key, height);
        }
        Ok(())
    }

    fn key(&mut self, key: Key, height: usize) {
        if let Some((deed, id)) = self.asked.take() {
            self.state.message = match key {
                Key::Byte(b'y') => deed.apply(self.config, &id),
                _ => "nothing was done".to_owned(),
            };
            let _ = self.wishes.send(Wish::LookAtQueue);
            return;
        }
        self.state.message.clear();
        let page = height.saturating_sub(10).max(1);
        match key {
            Key::Byte(0x03) => self.ended = true,
            Key::Byte(b'q') if self.state.over == Over::List => self.ended = true,
            Key::Byte(b'q') | Key::Escape => self.state.over = Over::List,
            Key::Byte(b'?') => self.state.over = Over::Help,
            Key::Byte(b' ') => _ = self.wishes.send(Wish::Look),
            Key::Byte(b'o') => self.state.order = (self.state.order + 1) % self.state.page.orders().len(),
            Key::Byte(b'\r' | b'\n') => self.tell(),
            Key::Up | Key::Byte(b'k') => self.move_by(|at| at.saturating_sub(1)),
            Key::Down | Key::Byte(b'j') => self.move_by(|at| at.saturating_add(1)),
            Key::PageUp => self.move_by(|at| at.saturating_sub(page)),
            Key::PageDown => self.move_by(|at| at.saturating_add(page)),
            Key::Home => self.move_by(|_| 0),
            Key::End => self.move_by(|_| usize::MAX / 2),
            Key::Byte(byte) => {
                if let Some((_, page)) = Page::ALL.iter().find(|(known, _)| *known == byte) {
                    self.state = State { page: *page, ..State::default() };
                } else if let Some(deed) = Deed::of_key(byte) {
                    self.ask(deed);
                }
            }
        }
    }

    fn move_by(&mut self, to: impl Fn(usize) -> usize) {
        let at = if self.state.over == Over::List { &mut self.state.chosen } else { &mut self.state.first };
        *at = to(*at);
    }

    /// The message that keys are about.
    fn queue_id(&self) -> Option<String> {
        if let Over::Story(id, _) = &self.state.over {
            return Some(id.clone());
        }
        let rows = self.state.page.rows(self.snapshot.as_ref()?, self.state.order, 1).ok()?;
        rows.into_iter().nth(self.state.chosen)?.queue_id
    }

    fn tell(&mut self) {
        match self.queue_id() {
            Some(id) => {
                let lines = story::lines(self.config, &id);
                self.state.first = 0;
                self.state.over = Over::Story(id, lines);
            }
            None => self.state.message = "that row has no message".to_owned(),
        }
    }

    fn ask(&mut self, deed: Deed) {
        match self.queue_id() {
            Some(id) => {
                self.state.message = format!("{} {id}? y does it", deed.name());
                self.asked = Some((deed, id));
            }
            None => self.state.message = "that row has no message".to_owned(),
        }
    }
}

/// The picture as a terminal takes it: each line in its place, nothing left of the one before.
fn painted(lines: &[Line]) -> Vec<u8> {
    let mut out = b"\x1b[H".to_vec();
    for (number, (look, text)) in lines.iter().enumerate() {
        if number > 0 {
            out.extend_from_slice(b"\r\n");
        }
        let attribute: &[u8] = match look {
            Look::Plain => b"",
            Look::Bold => b"\x1b[1m",
            Look::Chosen => b"\x1b[7m",
        };
        out.extend_from_slice(attribute);
        out.extend_from_slice(text.as_bytes());
        if !attribute.is_empty() {
            out.extend_from_slice(b"\x1b[0m");
        }
        out.extend_from_slice(b"\x1b[K");
    }
    out.extend_from_slice(b"\x1b[J");
    out
}

/// The keys in what a terminal sends at once; a sequence that is not known is none.
fn read_keys(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first != 0x1b {
            keys.push(Key::Byte(*first));
            continue;
        }
        let Some(sequence) = more.strip_prefix(b"[").or_else(|| more.strip_prefix(b"O")) else {
            keys.push(Key::Escape);
            continue;
        };
        let end =
            sequence.iter().position(|byte| (0x40..=0x7e).contains(byte)).map_or(sequence.len(), |at| at + 1);
        let (sequence, behind) = sequence.split_at(end);
        rest = behind;
        keys.extend(match sequence {
            b"A" => Some(Key::Up),
            b"B" => Some(Key::Down),
            b"H" | b"1~" => Some(Key::Home),
            b"F" | b"4~" => Some(Key::End),
            b"5~" => Some(Key::PageUp),
            b"6~" => Some(Key::PageDown),
            _ => None,
        });
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        use Key::{Byte, Down, End, Escape, Home, PageDown, PageUp, Up};
        let table: &[(&[u8], &[Key])] = &[
            (b"q", &[Byte(b'q')]),
            (b"\x1b[A\x1b[B\x1bOA", &[Up, Down, Up]),
            (b"\x1b[5~\x1b[6~\x1b[H\x1b[F", &[PageUp, PageDown, Home, End]),
            (b"\x1b", &[Escape]),
            (b"\x1b[1;5Ax", &[Byte(b'x')]),
            (b"\x1b[", &[]),
            (b"\x1bq", &[Escape, Byte(b'q')]),
            (b"", &[]),
        ];
        for (bytes, expected) in table {
            assert_eq!(read_keys(bytes), *expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_picture() {
        let lines =
            [(Look::Bold, "a ".to_owned()), (Look::Chosen, "b ".to_owned()), (Look::Plain, "c ".to_owned())];
        let expected = "\x1b[H\x1b[1ma \x1b[0m\x1b[K\r\n\x1b[7mb \x1b[0m\x1b[K\r\nc \x1b[K\x1b[J";
        assert_eq!(String::from_utf8(painted(&lines)).unwrap(), expected);
    }
}
