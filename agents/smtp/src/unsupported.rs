//! What this client does not do yet: it says so at its start, and delivers without it (`docs/differences.md`).

use config::Config;
use server::Fatal;

use crate::protocol::Protocol;

/// Parameters whose value has no effect, and what is done.
const WITHOUT_EFFECT: [(&str, &str); 4] = [
    ("smtp_tls_trace_size_limit", "there is no trace"),
    ("smtp_tlsrpt_enable", "nothing is told to a TLSRPT service"),
    ("smtp_tlsrpt_skip_reused_handshakes", "nothing is told to a TLSRPT service"),
    ("smtp_tlsrpt_socket_name", "nothing is told to a TLSRPT service"),
];

/// Tells what is set and has no effect. Mail that can be delivered without it is.
pub(crate) fn tell(config: &Config, protocol: Protocol) -> Result<(), Fatal> {
    for (name, instead) in WITHOUT_EFFECT {
        let name = protocol.parameter(name);
        if config.origin(&name).is_none() {
            continue;
        }
        let value = config.text(&name)?;
        if !value.is_empty() && value != "no" {
            log::warn!("{name} = {value} has no effect: {instead}");
        }
    }
    Ok(())
}
