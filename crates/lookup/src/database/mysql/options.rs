//! Files of options, as the client library reads them: `option_file`, or else the library's own ones.
//!
//! Only what Postfix leaves open has an effect (observed with Debian's library): the login's name where the table has none,
//! but never its password; for `localhost` and sockets the server's name; the socket that `localhost` means; the port of
//! names without one; the character set, and what TLS needs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use config::printable;

/// The library's own files, before that in the home folder.
const SYSTEM: [&str; 2] = ["/etc/my.cnf", "/etc/mysql/my.cnf"];
const HOME: &str = ".my.cnf";
/// Sections that are read whatever the parameters say.
const GROUPS: [&str; 3] = ["client", "client-server", "client-mariadb"];

/// Bounds a file, and how deep they include each other.
const SIZE_LIMIT: u64 = 1 << 20;
const DEPTH_LIMIT: usize = 10;

/// What files of options say.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Options {
    pub(super) user: String,
    pub(super) host: String,
    pub(super) port: String,
    pub(super) socket: String,
    pub(super) charset: String,
    pub(super) ca_file: String,
    pub(super) ca_path: String,
    pub(super) cert: String,
    pub(super) key: String,
    pub(super) ciphers: String,
    pub(super) verifies: bool,
    /// Has an effect in the library, and none here.
    pub(super) ignored: Vec<String>,
}

impl Options {
    /// Those of the file, or of the library's own ones where a group is named. A file that cannot be read has none.
    pub(super) fn read(file: &str, group: &str) -> Options {
        let mut options = Options::default();
        if !file.is_empty() {
            options.add(Path::new(file), group, 0);
        } else if !group.is_empty() {
            let home = env::var_os("HOME").map(|home| PathBuf::from(home).join(HOME));
            for path in SYSTEM.iter().map(PathBuf::from).chain(home) {
                options.add(&path, group, 0);
            }
        }
        options
    }

    fn add(&mut self, path: &Path, group: &str, depth: usize) {
        let is_good = fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() <= SIZE_LIMIT);
        if depth > DEPTH_LIMIT || !is_good {
            return;
        }
        let text = fs::read(path).unwrap_or_default();
        let mut is_ours = false;
        for line in text.split(|byte| *byte == b'\n').map(|line| line.trim_ascii()) {
            if let Some(included) = line.strip_prefix(b"!include ") {
                self.add(crate::path(included.trim_ascii()), group, depth + 1);
            } else if let Some(title) = line.strip_prefix(b"[") {
                let end = title.iter().position(|byte| *byte == b']');
                let title = end.map(|end| printable(&title[..end]));
                is_ours = title.is_some_and(|title| title == group || GROUPS.contains(&title.as_str()));
            } else if is_ours && !matches!(line.first(), None | Some(b'#' | b';' | b'!')) {
                let (name, value) = line.iter().position(|byte| *byte == b'=').map_or((line, None), |at| {
                    (line[..at].trim_ascii(), Some(printable(&unquoted(line[at + 1..].trim_ascii()))))
                });
                self.set(&printable(name).replace('_', "-"), value);
            }
        }
    }

    fn set(&mut self, name: &str, value: Option<String>) {
        let place = match (name, &value) {
            ("user", _) => &mut self.user,
            ("host", _) => &mut self.host,
            ("port", _) => &mut self.port,
            ("socket", _) => &mut self.socket,
            ("default-character-set", _) => &mut self.charset,
            ("ssl-ca", _) => &mut self.ca_file,
            ("ssl-capath", _) => &mut self.ca_path,
            ("ssl-cert", _) => &mut self.cert,
            ("ssl-key", _) => &mut self.key,
            ("ssl-cipher", _) => &mut self.ciphers,
            ("ssl-verify-server-cert", _) => {
                self.verifies = value.is_none_or(|value| value != "0");
                return;
            }
            (
                "init-command" | "ssl-crl" | "ssl-crlpath" | "ssl-fp" | "ssl-fplist" | "tls-version",
                Some(_),
            ) => {
                self.ignored.push(name.to_owned());
                return;
            }
            _ => return,
        };
        if let Some(value) = value {
            *place = value;
        }
    }
}

/// The value without quotes around it, and with its escapes resolved.
fn unquoted(value: &[u8]) -> Vec<u8> {
    let quotes = [b'"', b'\''];
    let inner = quotes.iter().find_map(|quote| value.strip_prefix(&[*quote])?.strip_suffix(&[*quote]));
    let mut bytes = inner.unwrap_or(value).iter().copied();
    let mut text = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            text.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'n') => text.push(b'\n'),
            Some(b't') => text.push(b'\t'),
            Some(b'r') => text.push(b'\r'),
            Some(b'b') => text.push(8),
            Some(b's') => text.push(b' '),
            Some(quote @ (b'"' | b'\'' | b'\\')) => text.push(quote),
            other => text.extend([b'\\'].into_iter().chain(other)),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Debian's library has it.
    #[test]
    fn files_observed() {
        let path = env::temp_dir().join(format!("postern-options-{}", std::process::id()));
        let name = path.display().to_string();
        let user = |text: &str, group: &str| {
            fs::write(&path, text).unwrap();
            Options::read(&name, group).user
        };
        for (text, group, expected) in [
            ("[client]\nuser=open\n", "client", "open"),
            ("[client]\nuser=open\n", "", "open"),
            ("[foo]\nuser=open\n", "client", ""),
            ("[foo]\nuser=open\n[client]\nuser=x\n", "foo", "x"),
            ("[client-server]\nuser=open\n", "client", "open"),
            ("[mysql]\nuser=open\n", "client", ""),
            ("[client]\nuser = \"open\"  \n", "client", "open"),
            ("[client]\nuser='open'\n", "client", "open"),
            ("[client]\nuser=open # c\n", "client", "open # c"),
            ("[client]\nuser=op\\en\n", "client", "op\\en"),
            ("[client]\nuser=op\\sen\n", "client", "op en"),
            ("[ client ]\nuser=open\n", "client", ""),
            ("[client] # x\nuser=open\n", "client", "open"),
            ("[client]\r\nuser=open\r\n", "client", "open"),
            ("[client]\nuser: open\n", "client", ""),
            ("[client]\nuser open\n", "client", ""),
            ("[client]\nUSER=open\n", "client", ""),
            ("user=x\n[client]\n# y\n; z\n", "client", ""),
            ("[client\nuser=open\n", "client", ""),
        ] {
            assert_eq!(user(text, group), expected, "{text}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(Options::read("/nowhere", "client"), Options::default());
    }
}
