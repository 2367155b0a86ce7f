//! What the end of a command says of the recipient.

use smtp::EnhancedStatus;
use sys::process::Ended;

use crate::copy::CopyError;
use crate::status::Status;

/// EX_TEMPFAIL.
pub(super) const TEMPORARY_FAILURE: i32 = 75;

const SOFTWARE_ERROR: &str = "internal software error";

/// Of `sysexits.h`: status, code, and text.
const EXITS: &[(i32, &str, &str)] = &[
    (64, "5.3.0", "command line usage error"),
    (65, "5.6.0", "data format error"),
    (66, "5.3.0", "cannot open input"),
    (67, "5.1.1", "user unknown"),
    (68, "5.1.2", "host name unknown"),
    (69, "5.3.0", "service unavailable"),
    (70, "5.3.0", SOFTWARE_ERROR),
    (71, "4.3.0", "system resource problem"),
    (72, "5.3.0", "critical OS file missing"),
    (73, "5.2.0", "can't create user output file"),
    (74, "5.3.0", "input/output error"),
    (TEMPORARY_FAILURE, "4.3.0", "temporary failure"),
    (76, "5.5.0", "remote error in protocol"),
    (77, "5.7.0", "permission denied"),
    (78, "5.3.5", "local configuration error"),
];

/// What was said, on one line: up to a NUL, tabs and line ends as blanks, and `_` for what cannot be shown.
pub(super) fn shown(output: &[u8], utf8: bool) -> Vec<u8> {
    let output = output.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut text = Vec::with_capacity(output.len());
    for chunk in output.utf8_chunks() {
        text.extend(chunk.valid().bytes().map(|byte| match byte {
            b'\t' | b'\n' => b' ',
            b' '..=b'~' => byte,
            128.. if utf8 => byte,
            _ => b'_',
        }));
        text.resize(text.len() + chunk.invalid().len(), b'_');
    }
    text
}

/// It took too long.
pub(super) fn late(name: &[u8], output: &[u8]) -> Status {
    let text = [b"Command time limit exceeded: \"", name, b"\""].concat();
    with_output("5.3.0", text, SOFTWARE_ERROR.into(), output)
}

/// It ended well, but cannot have the message.
pub(super) fn not_fed(error: &CopyError, name: &[u8]) -> Status {
    let mut status = error.status();
    let reason = error.to_string();
    status.text = [b"Command failed: ", reason.as_bytes(), b": \"", name, b"\""].concat();
    status
}

/// It did not end well.
pub(super) fn failed(ended: Ended, name: &[u8], output: &[u8]) -> Status {
    let number = match ended {
        Ended::Killed(signal) => {
            let text = [format!("Command died with signal {signal}: \"").as_bytes(), name, b"\""].concat();
            return with_output("4.3.0", text, SOFTWARE_ERROR.into(), output);
        }
        Ended::Exited(number) => number,
    };
    if EnhancedStatus::prefix(output).is_some() {
        let status = Status::split(output, "5.3.0");
        let text = status.text.clone();
        return status.diagnosed(text);
    }
    match EXITS.iter().find(|(known, ..)| *known == number) {
        Some((_, code, text)) => with_output(code, text.as_bytes().to_vec(), (*text).into(), output),
        None => {
            let text = [format!("Command died with status {number}: \"").as_bytes(), name, b"\""].concat();
            with_output("5.3.0", text, format!("unknown mail system error {number}"), output)
        }
    }
}

/// `silent` is the diagnosis of a command that said nothing.
fn with_output(code: &'static str, mut text: Vec<u8>, silent: String, output: &[u8]) -> Status {
    let diagnosis = if output.is_empty() { silent.into_bytes() } else { output.to_vec() };
    if !output.is_empty() {
        text.extend_from_slice(b". Command output: ");
        text.extend_from_slice(output);
    }
    Status::new(code, text).diagnosed(diagnosis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        for (ended, output, code, text) in [
            (Ended::Exited(1), "", "5.3.0", "Command died with status 1: \"x\""),
            (Ended::Exited(67), "", "5.1.1", "user unknown"),
            (Ended::Exited(75), "busy ", "4.3.0", "temporary failure. Command output: busy "),
            (Ended::Exited(75), "5.7.9 go", "5.7.9", "go"),
            (Ended::Exited(75), " 5.7.9 go", "4.3.0", "temporary failure. Command output:  5.7.9 go"),
            (
                Ended::Killed(9),
                "5.7.9 go",
                "4.3.0",
                "Command died with signal 9: \"x\". Command output: 5.7.9 go",
            ),
        ] {
            let status = failed(ended, b"x", output.as_bytes());
            assert_eq!((status.code(), &*String::from_utf8_lossy(&status.text)), (code, text));
        }
    }

    #[test]
    fn outputs() {
        for (output, expected) in
            [(&b"a\tb\nc\r"[..], &b"a b c_"[..]), (b"a\0b", b"a"), (b"\xc3\xa4\xff\x7f", b"\xc3\xa4__")]
        {
            assert_eq!(shown(output, true), expected);
        }
        assert_eq!(shown(b"\xc3\xa4", false), b"__");
    }
}
