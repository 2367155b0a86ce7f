//! What a message may ask for with `-O NAME=VALUE`, since 3.11: REQUIRETLS and SMTPUTF8 (observed, 3.11.7).
//!
//! Other names are those of other sendmails, and ignored.

use config::{Config, Error, printable};
use ipc::dialect::Dialect;
use queue::sendopts;

/// A name, the parameter that allows it, and what it asks for.
const NAMES: [(&str, &str, i64); 2] = [
    ("requiretls", "requiretls_enable", sendopts::REQUIRETLS),
    ("smtputf8", "smtputf8_enable", sendopts::SMTPUTF8_REQUESTED),
];

/// The options of these settings, each of which was behind `-O`.
///
/// # Errors
/// A bad value of a parameter.
pub(crate) fn of(config: &Config, settings: &[Vec<u8>]) -> Result<i64, Error> {
    let mut wanted = 0;
    if !Dialect::of_postfix_3(config.globals().postfix_minor).knows_requiretls() {
        return Ok(wanted);
    }
    for setting in settings {
        let (name, value) = match setting.iter().position(|byte| *byte == b'=') {
            Some(at) => (&setting[..at], &setting[at + 1..]),
            None => (&setting[..], &b""[..]),
        };
        let Some((_, parameter, option)) =
            NAMES.iter().find(|(known, ..)| name.eq_ignore_ascii_case(known.as_bytes()))
        else {
            continue;
        };
        if !config.boolean(parameter)? {
            // The quote that is missing is missing there too.
            log::warn!(
                "Ignoring option '-O {}, because the configuration is '{parameter} = no'",
                printable(setting)
            );
        } else if value.eq_ignore_ascii_case(b"yes") {
            wanted |= option;
        } else if value.eq_ignore_ascii_case(b"no") {
            wanted &= !option;
        } else {
            log::warn!("bad -O option: '{}' -- ignored", printable(setting));
        }
    }
    Ok(wanted)
}
