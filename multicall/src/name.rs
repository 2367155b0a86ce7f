//! Which program a file's name means.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Links that are followed at most, as in the kernel.
const LINKS: usize = 40;

/// The program that a path means: by its last part or, where that tells nothing, by what it is a symbolic link to.
pub(crate) fn program<P: Copy>(path: &Path, programs: &[(&'static str, P)]) -> Option<(&'static str, P)> {
    let mut path = PathBuf::from(path);
    for _ in 0..LINKS {
        let name = path.file_name()?.as_bytes();
        if let Some(found) = named(name, programs) {
            return Some(found);
        }
        let target = fs::read_link(&path).ok()?;
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    None
}

/// The name itself, or one with an addition: `smtpd.distrib`, `sendmail.postfix`, `smtpd-trial`.
fn named<P: Copy>(name: &[u8], programs: &[(&'static str, P)]) -> Option<(&'static str, P)> {
    let is_meant = |known: &str| {
        let rest = name.strip_prefix(known.as_bytes());
        rest.is_some_and(|rest| rest.first().is_none_or(|byte| !byte.is_ascii_alphanumeric()))
    };
    programs.iter().filter(|(known, _)| is_meant(known)).max_by_key(|(known, _)| known.len()).copied()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const SOME: &[(&str, ())] = &[("smtp", ()), ("smtpd", ()), ("postern-health", ()), ("sendmail", ())];

    fn found(path: impl AsRef<Path>) -> Option<&'static str> {
        program(path.as_ref(), SOME).map(|(name, ())| name)
    }

    #[test]
    fn a_name_and_a_name_with_an_addition() {
        for (path, expected) in [
            ("/usr/libexec/smtpd", Some("smtpd")),
            ("smtp", Some("smtp")),
            ("./smtpd.distrib", Some("smtpd")),
            ("/x/smtp-out", Some("smtp")),
            ("postern-health", Some("postern-health")),
            ("/usr/sbin/sendmail.postfix", Some("sendmail")),
            ("/smtpd/other", None),
            ("smtpdx", None),
            ("postern", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(found(path), expected, "{path}");
        }
    }

    #[test]
    fn a_link_of_another_name_is_what_it_leads_to() {
        let folder = std::env::temp_dir().join(format!("multicall-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary folder");
        for (link, target) in
            [("mta", "agent"), ("agent", "x/../smtpd"), ("round", "round"), ("lost", "gone")]
        {
            symlink(target, folder.join(link)).expect("a new folder");
        }
        assert_eq!(found(folder.join("mta")), Some("smtpd"));
        assert_eq!(found(folder.join("round")), None);
        assert_eq!(found(folder.join("lost")), None);
        fs::remove_dir_all(&folder).expect("our own");
    }
}
