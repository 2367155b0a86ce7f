//! What this installation has: lock methods, table types, SASL plug-ins, TLS, bounce templates.

use std::os::unix::process::CommandExt;
use std::process::Command;

use config::printable;

use crate::catalog::Catalog;
use crate::{Output, Stop};

/// How mailboxes and files are locked.
const LOCK_TYPES: &[&str] = &["flock", "fcntl", "dotlock"];

/// `-l`.
pub(crate) fn lock_types(output: &mut Output) {
    LOCK_TYPES.iter().for_each(|name| output.line(name.as_bytes()));
}

/// `-m`.
pub(crate) fn table_types(output: &mut Output) {
    lookup::TYPES.iter().for_each(|name| output.line(name.as_bytes()));
}

/// `-a`: the values that `smtpd_sasl_type` may have.
pub(crate) fn server_sasl(output: &mut Output) {
    output.line(b"cyrus");
    output.line(b"dovecot");
}

/// `-A`: the values that `smtp_sasl_type` and `lmtp_sasl_type` may have.
pub(crate) fn client_sasl(output: &mut Output) {
    output.line(b"cyrus");
}

/// `-T`: the kinds of keys that a server may have. The words for OpenSSL's version produce no output, as in a Postfix
/// that was built without it.
pub(crate) fn tls(output: &mut Output, mode: &[u8]) -> Result<(), Stop> {
    match mode {
        b"public-key-algorithms" => {
            output.line(b"ecdsa");
            output.line(b"rsa");
            Ok(())
        }
        b"compile-version" | b"run-version" => Ok(()),
        _ => {
            log::warn!("unknown 'postconf -T' mode: {}", printable(mode));
            Err(Stop::Status(1))
        }
    }
}

/// `-b`, `-t`: the bounce daemon knows the templates; it takes this process's place.
pub(crate) fn templates(catalog: &Catalog, action: &str, file: Option<&[u8]>) -> Result<(), Stop> {
    let daemon_directory = catalog.expanded_text(b"daemon_directory")?;
    let program = format!("{}/bounce", printable(&daemon_directory));
    let mut command = Command::new(&program);
    command.args(["-SVn", action]);
    if let Some(file) = file {
        command.args(["-o", &format!("bounce_template_file={}", printable(file))]);
    }
    let (name, value) = catalog.directory().environment();
    command.args(["-o", "queue_directory=."]).env(name, value);
    let error = command.exec();
    Err(Stop::fatal(format!("execv {program}: {}", sys::error_text(&error))))
}
