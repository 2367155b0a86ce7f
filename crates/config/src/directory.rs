//! Where main.cf is, and who may say so.
//!
//! The directory is the value of `MAIL_CONFIG`, else [`DEFAULT_DIRECTORY`]. A command's `-c DIR`
//! means the same; it takes [`ConfigDir::new`] and hands the directory to its children with
//! [`ConfigDir::environment`]. A process that runs with more rights than its caller (set-gid
//! commands) accepts a directory other than the default only when the *default* main.cf lists it.

use std::ffi::OsString;
use std::fs::File;
use std::io::BufReader;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::assignment::Assignment;
use crate::error::{Error, shown};
use crate::list;
use crate::logical_lines::LogicalLines;

/// The directory when nothing else is asked for.
pub const DEFAULT_DIRECTORY: &str = "/etc/postfix";

/// The environment variable that names another directory.
pub const ENVIRONMENT: &str = "MAIL_CONFIG";

/// A configuration directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigDir {
    path: PathBuf,
}

impl ConfigDir {
    /// This very directory, as `-c DIR` asks for.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The directory that the environment asks for, else the default.
    pub fn from_environment() -> Self {
        Self::new(std::env::var_os(ENVIRONMENT).unwrap_or_else(|| DEFAULT_DIRECTORY.into()))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        let mut file = self.path.clone().into_os_string();
        file.push("/");
        file.push(name);
        file.into()
    }

    /// The path of main.cf.
    pub fn main_cf(&self) -> PathBuf {
        self.file("main.cf")
    }

    /// The path of master.cf.
    pub fn master_cf(&self) -> PathBuf {
        self.file("master.cf")
    }

    /// Name and value of the environment variable that tells child processes about the directory.
    pub fn environment(&self) -> (&'static str, OsString) {
        (ENVIRONMENT, self.path.clone().into_os_string())
    }

    /// Whether it is the default one, compared byte for byte.
    pub fn is_default(&self) -> bool {
        self.path.as_os_str().as_bytes() == DEFAULT_DIRECTORY.as_bytes()
    }

    /// Makes sure that a caller with fewer rights than this process may choose the directory.
    ///
    /// # Errors
    /// When the process is set-uid or set-gid, and as for [`Self::must_be_listed`].
    pub fn authorize(&self) -> Result<(), Error> {
        if runs_with_more_rights() { self.must_be_listed() } else { Ok(()) }
    }

    /// Makes sure that the default main.cf lists the directory, if it is another one.
    ///
    /// # Errors
    /// When it does not.
    pub fn must_be_listed(&self) -> Result<(), Error> {
        if self.is_default() {
            return Ok(());
        }
        let path = Self::new(DEFAULT_DIRECTORY).main_cf();
        let file = File::open(&path).map_err(|e| Error::io(format!("open file {}", shown(&path)), e))?;
        let lines = LogicalLines::new(BufReader::new(file), shown(&path));
        let wanted = self.path.as_os_str().as_bytes();
        for line in lines {
            let line = line.map_err(|e| Error::io(format!("read file {}", shown(&path)), e))?;
            if lists(&line.text, wanted) {
                return Ok(());
            }
        }
        let directory = shown(&self.path);
        log::error!("unauthorized configuration directory name: {directory}");
        Err(Error::new(format!(
            "specify \"alternate_config_directories = {directory}\" or \"multi_instance_directories \
             = {directory}\" in {}",
            shown(&path)
        )))
    }
}

/// The text is not expanded: a `$name` in it matches only itself.
fn lists(line: &[u8], wanted: &[u8]) -> bool {
    Assignment::parse(line).is_ok_and(|setting| {
        matches!(setting.name, b"alternate_config_directories" | b"multi_instance_directories")
            && list::words(setting.value).any(|word| word == wanted)
    })
}

/// Root is its own master; otherwise the real and the effective ids must be the same.
pub(crate) fn runs_with_more_rights() -> bool {
    use nix::unistd::{getegid, geteuid, getgid, getuid};
    let root = getuid().is_root() && geteuid().is_root();
    !root && (getuid() != geteuid() || getgid() != getegid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorising_lines() {
        let cases = [
            ("alternate_config_directories = /a, /b /c", "/b", true),
            ("multi_instance_directories=/c", "/c", true),
            ("multi_instance_directories=/c", "/c/", false),
            ("alternate_config_directories = $a", "/a", false),
            ("other = /c", "/c", false),
            ("garbage", "garbage", false),
        ];
        for (line, wanted, expected) in cases {
            assert_eq!(lists(line.as_bytes(), wanted.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn the_default_is_compared_as_bytes() {
        assert!(ConfigDir::new("/etc/postfix").is_default());
        assert!(!ConfigDir::new("/etc/postfix/").is_default());
        assert_eq!(ConfigDir::new("/x").main_cf(), Path::new("/x/main.cf"));
        assert_eq!(ConfigDir::new(".").main_cf().as_os_str(), "./main.cf");
    }
}
