//! What anvil has counted of the client, beside the limits that there are: of all hosts, where they share their counters
//! (`anvil_shared_counters`).

use std::net::IpAddr;
use std::time::Duration;

use config::{Config, Error};
use ipc::anvil::{Anvil, Client, PATH, ident};
use ipc::client::Stream;
use ipc::dialect::Dialect;

use crate::steps::{Step, Steps};

/// Adds what there is to tell. Without an anvil nobody counts, and nothing is told.
///
/// # Errors
/// A setting that cannot be used.
pub(crate) fn tell(
    config: &Config,
    service: &str,
    address: IpAddr,
    timeout: Duration,
    steps: &Steps,
) -> Result<(), Error> {
    if Stream::connect(PATH, timeout).is_err() {
        return Ok(());
    }
    let dialect = Dialect::of_postfix_3(config.globals().postfix_minor);
    let client = match (dialect.anvil_knows_networks(), address) {
        (false, _) => Client::Address(address),
        (true, IpAddr::V4(_)) => Client::Network(address, prefix(config, "smtpd_client_ipv4_prefix_length")?),
        (true, IpAddr::V6(_)) => Client::Network(address, prefix(config, "smtpd_client_ipv6_prefix_length")?),
    };
    let Some(counters) = Anvil::new(timeout).lookup(&ident(service, &client), dialect) else {
        return Ok(());
    };
    for (parameter, counted) in [
        ("smtpd_client_connection_count_limit", counters.count),
        ("smtpd_client_connection_rate_limit", counters.rate),
        ("smtpd_client_message_rate_limit", counters.mail),
        ("smtpd_client_recipient_rate_limit", counters.rcpt),
        ("smtpd_client_new_tls_session_rate_limit", counters.newtls),
        ("smtpd_client_auth_rate_limit", counters.auth),
    ] {
        let limit = config.integer(parameter)?;
        if limit > 0 && counted > 0 {
            steps.push(Step::Counter { parameter, limit, counted });
        }
    }
    Ok(())
}

fn prefix(config: &Config, parameter: &str) -> Result<u8, Error> {
    config.integer(parameter).map(|length| u8::try_from(length).unwrap_or(u8::MAX))
}
