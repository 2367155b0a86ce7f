//! What makes an index file: postalias where most lines of the source are an alias file's, else postmap, with the rights of who owns the
//! old index file. The first line of what it says is why there is none.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use address::token;
use config::logical_lines::{LogicalLines, trim};
use config::{Config, printable};
use delivery::{Commands, Ids, Rights};
use lookup::migration::Index;
use server::Fatal;
use sys::Pid;
use sys::process::Ended;
use sys::signal::Signal;

/// A command that takes longer is stopped: who asked does not wait any more.
const LIMIT: Duration = Duration::from_secs(30);
/// Of its first line.
const LONGEST: u64 = 2048;

/// Runs the commands.
#[derive(Debug)]
pub(crate) struct Indexer {
    commands: Commands,
    rights: Rights,
    command_directory: String,
}

impl Indexer {
    pub(crate) fn configured(config: &Config) -> Result<Self, Fatal> {
        let globals = config.globals();
        Ok(Self {
            commands: Commands::configured(config)?,
            rights: Rights::of(globals),
            command_directory: globals.command_directory.clone(),
        })
    }

    pub(crate) fn rights(&self) -> Rights {
        self.rights
    }

    /// Makes the index of a source. The error is for the client.
    pub(crate) fn make(&self, index: &Index, source: &[u8], ids: Ids) -> Result<(), Vec<u8>> {
        let is_alias = self.rights.lend(ids, || is_alias_file(source)).map_err(|error| {
            let as_whom = format!(" as uid={} gid={}: {}", ids.uid, ids.gid, sys::error_text(&error));
            [b"open lookup table source file ", source, as_whom.as_bytes()].concat()
        })?;
        let name = if is_alias { "postalias" } else { "postmap" };
        let table = [index.kind.as_bytes(), b":", source].concat();
        let words = [format!("{}/{name}", self.command_directory).into_bytes(), table.clone()];
        match self.run(&words, ids) {
            Ok(()) => {
                log::info!("successfully executed '{name} {}' as uid {}", printable(&table), ids.uid);
                Ok(())
            }
            Err(said) => {
                // There was none before, and half of one must not be found.
                let _ = self.rights.lend(ids, || fs::remove_file(&index.path));
                let said = said.unwrap_or_else(|| {
                    format!(
                        "({name} failure reason unavailable: Application error); alternatively, execute the failed command by hand"
                    )
                    .into_bytes()
                });
                Err([b"could not execute command '", name.as_bytes(), b" ", &table, b"': ", &said].concat())
            }
        }
    }

    /// Runs the command to its end; the first line of one that fails, if it has said anything.
    fn run(&self, words: &[Vec<u8>], ids: Ids) -> Result<(), Option<Vec<u8>>> {
        let text = |error: &std::io::Error| Some(sys::error_text(error).into_bytes());
        let (ours, theirs) = UnixStream::pair().map_err(|error| text(&error))?;
        ours.shutdown(Shutdown::Write).map_err(|error| text(&error))?;
        let until = Instant::now() + LIMIT;
        let started = self.commands.attend(words, ids, self.rights, theirs.as_fd());
        drop(theirs);
        let pid = started.map_err(|failed| text(&failed.error))?;
        let said = listen(&ours, until);
        match sys::process::wait_within(pid, until.saturating_duration_since(Instant::now())) {
            Ok(Some(Ended::Exited(0))) => Ok(()),
            Ok(Some(_)) => Err(said),
            Ok(None) | Err(_) => {
                self.stop(pid, ids);
                Err(Some(b"time limit exceeded".to_vec()))
            }
        }
    }

    fn stop(&self, pid: Pid, ids: Ids) {
        let group = Pid::from_raw(-pid.as_raw());
        let kill = || sys::process::kill(group, Some(Signal::SIGKILL));
        if let Err(error) = self.rights.lend(ids, kill).and_then(|()| sys::process::wait(pid).map(drop)) {
            log::warn!("process id {pid}: {}", sys::error_text(&error));
        }
    }
}

/// Reads all that is said until then; the first line of it.
fn listen(socket: &UnixStream, until: Instant) -> Option<Vec<u8>> {
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // A time-out of nothing would be none.
        if left.is_zero() || socket.set_read_timeout(Some(left)).is_err() {
            break;
        }
        match (&mut &*socket).read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                let room = usize::try_from(LONGEST).unwrap_or(usize::MAX).saturating_sub(said.len());
                said.extend_from_slice(&buffer[..count.min(room)]);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let first = said.split(|byte| *byte == b'\n').next().unwrap_or_default();
    (!said.is_empty()).then(|| first.to_vec())
}

/// Whether the file has more lines of an alias file than others that postmap takes (observed with 3.11.7).
fn is_alias_file(source: &[u8]) -> std::io::Result<bool> {
    let file = File::open(OsStr::from_bytes(source))?;
    let lines = LogicalLines::new(BufReader::new(file), printable(source));
    // What cannot be read, the command tells.
    Ok(is_mostly_aliases(lines.map_while(Result::ok).map(|line| line.text)))
}

fn is_mostly_aliases(lines: impl Iterator<Item = Vec<u8>>) -> bool {
    let (mut aliases, mut others) = (0_u64, 0_u64);
    for line in lines {
        match form(&line) {
            Some(Form::Alias) => aliases += 1,
            Some(Form::Map) => others += 1,
            None => {}
        }
    }
    aliases > others
}

/// What a line is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `name: value`.
    Alias,
    /// `key value`.
    Map,
}

/// A key with a value is postmap's, unless it ends with a colon.
fn form(line: &[u8]) -> Option<Form> {
    let (key, value) = line.split_at(lookup::key_length(line)?);
    if !key.is_empty() && !trim(value).is_empty() && !key.ends_with(b":") {
        return Some(Form::Map);
    }
    token::alias(&token::scan(line)).map(|_| Form::Alias)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As 3.11.7 chose.
    #[test]
    fn lines_observed() {
        for line in [
            "a: b",
            "a:\tb",
            "a:b",
            "a:b:c",
            "a::b",
            "1:b",
            "a@x:b",
            "a@x: b",
            "\"a b\": c",
            "a\"b: c\"d: e",
            "2001:db8::1",
            "2001:db8::1: x",
            "[::1]: x",
            "<a>: b",
            "/x: y/ z",
            "a: b c",
            "\\\"a: b",
            "\"\": b",
            ".x: y",
            "@x: y",
            "a;b: c",
            "a<b>: c",
            "a(c): b",
            "<a: b",
            "a@: b",
            "a:,b",
            "a:b,c",
            "a;:b",
            "a.: b",
            "@: b",
            "a<b: c",
            "a\\ b: c",
            "a::",
            "a:: b",
            "\"a:b\": c",
            "\"a:b\":c",
            "\"a\":b:c",
            "a: :include:/x",
        ] {
            assert_eq!(form(line.as_bytes()), Some(Form::Alias), "{line}");
        }
        for line in [
            "a b",
            "a:b c",
            "a:",
            "a :",
            "a : b",
            "a b: c",
            "\"a b\" c",
            "\"a: b",
            "a,b: c",
            "a\\:b c",
            "[::1] x",
            "(c) a: b",
            "a:b c: d",
            ":b",
            ": b",
            ":",
            "x smtp:[a]",
            "\"a:b\" c",
            "2001:db8::1 REJECT",
            "a,b:c",
            "a,: b",
            ",a: b",
            "a:, b",
            "(a: b",
            "(a b): c",
            "(a b):c",
            "a(b c): d",
            "<a b>: c",
            "[a b]: c",
            "\"a: c",
            "\"a:b",
            "a,b",
        ] {
            assert_ne!(form(line.as_bytes()), Some(Form::Alias), "{line}");
        }
    }

    #[test]
    fn files_observed() {
        for (text, expected) in [
            ("a: b\nb: c\nc: d\nx y", true),
            ("x y\na: b\nb: c\nc: d", true),
            ("a: b\njunk", true),
            ("a: b\nx,y: z", true),
            ("a: b\nc:d e\nf: g", true),
            ("a: b\nx y", false),
            ("c:d\nx y", false),
            ("x y", false),
            ("junk", false),
            ("", false),
        ] {
            let lines = text.lines().map(|line| line.as_bytes().to_vec());
            assert_eq!(is_mostly_aliases(lines), expected, "{text:?}");
        }
    }
}
