//! A list of servers as `hosts` has it.

use std::path::PathBuf;

#[cfg(any(feature = "mysql", feature = "pgsql"))]
use config::{list, printable};

/// One server of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::database) struct Host {
    /// As it was written.
    pub(in crate::database) name: String,
    pub(in crate::database) place: Place,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::database) enum Place {
    Unix(PathBuf),
    Inet { host: String, port: String },
}

impl Host {
    #[cfg(any(feature = "mysql", feature = "pgsql"))]
    /// The servers of a list; `place` reads what is no UNIX socket's path.
    pub(in crate::database) fn list(text: &[u8], place: impl Fn(&str) -> Place) -> Vec<Host> {
        let hosts = list::words(text).map(|word| {
            let name = printable(word);
            let place = match name.strip_prefix("unix:") {
                Some(path) => Place::Unix(PathBuf::from(path)),
                None => place(name.strip_prefix("inet:").unwrap_or(&name)),
            };
            Host { name, place }
        });
        hosts.collect()
    }

    pub(in crate::database) fn is_unix(&self) -> bool {
        matches!(self.place, Place::Unix(_))
    }
}

impl Place {
    #[cfg(any(feature = "mysql", feature = "pgsql"))]
    /// `host` or `host:port`. The last colon counts, so that no IPv6 address can be written.
    pub(in crate::database) fn inet(text: &str, default_port: &str) -> Place {
        let (host, port) = text.rsplit_once(':').unwrap_or((text, default_port));
        Place::Inet { host: host.to_owned(), port: port.to_owned() }
    }
}

#[cfg(all(test, any(feature = "mysql", feature = "pgsql")))]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let place = |text: &str| Place::inet(text, "3306");
        let inet = |host: &str, port: &str| Place::Inet { host: host.to_owned(), port: port.to_owned() };
        let hosts = Host::list(b"unix:/a/b, inet:c d:1\n[::1]:2 ::1 :7", place);
        let places: Vec<_> = hosts.iter().map(|host| host.place.clone()).collect();
        let expected = [
            Place::Unix(PathBuf::from("/a/b")),
            inet("c", "3306"),
            inet("d", "1"),
            inet("[::1]", "2"),
            inet(":", "1"),
            inet("", "7"),
        ];
        assert_eq!(places, expected);
        assert_eq!(hosts[1].name, "inet:c");
    }
}
