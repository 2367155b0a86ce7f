//! What this client does not do yet: it does not start where that is asked for, and says so (`docs/differences.md`).

use config::Config;
use server::Fatal;

use crate::settings::Protocol;

/// Refuses what would be ignored. An agent that nobody uses may well have it in main.cf.
pub(crate) fn refuse(config: &Config, protocol: Protocol) -> Result<(), Fatal> {
    let name = |name: &str| protocol.parameter(name);
    let parameter = name("smtp_sasl_auth_cache_name");
    let text = config.text(&parameter)?;
    if !text.is_empty() {
        return Err(refusal(config, &parameter, &text));
    }
    let parameter = name("smtp_per_request_deadline");
    if config.boolean(&parameter)? {
        return Err(refusal(config, &parameter, "yes"));
    }
    Ok(())
}

fn refusal(config: &Config, parameter: &str, value: &str) -> Fatal {
    let text = format!(
        "{parameter} = {value}: Postern's SMTP client does not have this yet; \
         leave Postfix's program in master.cf, or unset the parameter"
    );
    config.wrong(parameter, text).into()
}
