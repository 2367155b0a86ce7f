//! `mailbox_size_limit` and its like: the largest file that an agent makes (spec local-delivery 1).

use config::Config;
use server::Fatal;

/// The limit that the parameter of this name sets, if any.
///
/// # Errors
/// The parameter is wrong, or smaller than the largest message.
pub fn file_limit(config: &Config, parameter: &str) -> Result<Option<u64>, Fatal> {
    let limit = config.long(parameter)?;
    if limit <= 0 {
        return Ok(None);
    }
    let largest = config.globals().message_size_limit;
    let trouble = match largest {
        0 => "is limited but message_size_limit is unlimited",
        _ if limit < largest => "is smaller than message_size_limit",
        _ => return Ok(u64::try_from(limit).ok()),
    };
    Err(Fatal::if_used(format!("main.cf configuration error: {parameter} {trouble}")))
}
