//! `start-fg --environment=DIRECTORY`: a container whose main.cf is completed by its environment.
//!
//! `POSTFIX_name=value` is the setting `name = value`, after those of main.cf. The configuration that counts is made anew in
//! DIRECTORY at each start: main.cf with the settings, and links to whatever else is in the folder of `-c`, which may be
//! read-only. Then this command starts once more, with that directory. It is opt-in, as variables of this kind may mean
//! something else elsewhere. Refused: a name that is none, and a value that main.cf cannot hold.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use config::ConfigDir;
use sys::error_text;

/// Before the name of a parameter.
const PREFIX: &[u8] = b"POSTFIX_";
const OPTION: &[u8] = b"--environment=";

/// The directory that is asked for.
pub(crate) fn directory(operands: &[OsString]) -> Option<PathBuf> {
    let [command, option] = operands else { return None };
    let path = option.as_bytes().strip_prefix(OPTION).filter(|_| command == "start-fg")?;
    Some(PathBuf::from(OsStr::from_bytes(path)))
}

/// Makes the configuration, and starts again with it.
pub(crate) fn enter(from: &ConfigDir, to: &Path) -> ! {
    let variables = env::vars_os();
    let settings: Result<Vec<_>, _> = variables.filter_map(|(name, value)| setting(&name, &value)).collect();
    let settings = settings.unwrap_or_else(|text| maillog::fatal(text));
    if let Err(error) = write(from.path(), to, &settings.concat()) {
        maillog::fatal(format_args!("{}: {}", to.display(), error_text(&error)));
    }
    let error = match env::current_exe() {
        Ok(program) => Process::new(program).arg("-c").arg(to).arg("start-fg").exec(),
        Err(error) => error,
    };
    maillog::fatal(format_args!("cannot start-fg: {}", error_text(&error)))
}

/// The line of main.cf, or why there is none; nothing for a variable of another kind.
fn setting(name: &OsStr, value: &OsStr) -> Option<Result<Vec<u8>, String>> {
    let shown = name.to_string_lossy();
    let name = name.as_bytes().strip_prefix(PREFIX)?;
    if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        return Some(Err(format!("{shown}: no name of a parameter")));
    }
    let mut line = [name, b" ="].concat();
    for piece in value.as_bytes().split(|byte| *byte == b'\n') {
        let piece = piece.trim_ascii();
        let is_first = line.ends_with(b" =");
        if piece.starts_with(b"#") && !is_first {
            return Some(Err(format!("{shown}: a line of the value would be a comment")));
        }
        if !piece.is_empty() {
            line.extend_from_slice(if is_first { b" " } else { b"\n    " });
            line.extend_from_slice(piece);
        }
    }
    line.push(b'\n');
    Some(Ok(line))
}

fn write(from: &Path, to: &Path, settings: &[u8]) -> io::Result<()> {
    if !to.is_absolute() || from == to {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        let link = to.join(&name);
        if name != "main.cf" {
            match fs::remove_file(&link) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => symlink(from.join(&name), link)?,
            }
        }
    }
    let mut text = fs::read(from.join("main.cf"))?;
    text.extend_from_slice(b"\n# From the environment.\n");
    text.extend_from_slice(settings);
    fs::write(to.join("main.cf"), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables() {
        let line = |name: &str, value: &str| {
            let made = setting(OsStr::new(name), OsStr::new(value))?;
            Some(made.map(|line| String::from_utf8(line).expect("as it was")))
        };
        for (name, value, made) in [
            ("POSTFIX_myhostname", "mx.example.com", Some("myhostname = mx.example.com\n")),
            ("POSTFIX_relayhost", "", Some("relayhost =\n")),
            (
                "POSTFIX_mynetworks",
                "127.0.0.0/8\n\n 10.0.0.0/8\n",
                Some("mynetworks = 127.0.0.0/8\n    10.0.0.0/8\n"),
            ),
            ("POSTFIX_x", "#1 $y", Some("x = #1 $y\n")),
            ("POSTFIXmyhostname", "x", None),
            ("PATH", "/bin", None),
        ] {
            assert_eq!(line(name, value), made.map(|made| Ok(made.to_owned())), "{name}");
        }
        for (name, value) in
            [("POSTFIX_", "x"), ("POSTFIX_a-b", "x"), ("POSTFIX_x", "a\n # b"), ("POSTFIX_a b", "x")]
        {
            assert!(line(name, value).is_some_and(|made| made.is_err()), "{name}");
        }
        let words = |text: &str| text.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(directory(&words("start-fg --environment=/run/x")), Some("/run/x".into()));
        for other in ["start-fg", "start --environment=/x", "start-fg --environment", ""] {
            assert_eq!(directory(&words(other)), None, "{other}");
        }
    }

    #[test]
    fn the_directory() {
        let base = env::temp_dir().join(format!("postfix-environment-{}", std::process::id()));
        let (from, to) = (base.join("from"), base.join("run/to"));
        fs::create_dir_all(&from).expect("our own folder");
        fs::write(from.join("main.cf"), "a = b").expect("our own folder");
        fs::write(from.join("master.cf"), "x\n").expect("our own folder");
        for settings in ["c = d\n", "e = f\n"] {
            write(&from, &to, settings.as_bytes()).expect("it can be written again");
            let text = fs::read_to_string(to.join("main.cf")).expect("made");
            assert_eq!(text, format!("a = b\n# From the environment.\n{settings}"));
            assert_eq!(fs::read_link(to.join("master.cf")).expect("a link"), from.join("master.cf"));
        }
        assert!(write(&from, &from, b"").is_err() && write(&from, Path::new("to"), b"").is_err());
        fs::remove_dir_all(base).expect("our own folder");
    }
}
