//! `-f`, `-i` and `-s`: delivery attempts now.

use std::time::{Duration, Instant};

use address::{AddressLiteral, DomainName};
use config::Config;
use ipc::flush::Status;
use ipc::{flush, trigger};
use lookup::Opening;
use lookup::list::{DomainList, Parents};
use queue::QueueId;

/// How long the triggers of `-f` may take; the servers go on by themselves.
const PATIENCE: Duration = Duration::from_secs(2);
const DOWN: &str = "Cannot flush mail queue - mail system is down";
const FAST_FLUSH_DOMAINS: &str = "fast_flush_domains";

/// All queued mail.
pub fn everything(config: &Config) {
    let globals = config.globals();
    let until = Instant::now() + PATIENCE;
    let wake = |service: &str, bytes: &[u8]| {
        let path = format!("public/{service}");
        if let Err(error) = trigger::look_up(&path) {
            log::warn!("{error}");
            maillog::fatal(DOWN);
        }
        log::debug!("connect to subsystem {path}");
        // A socket that nobody listens on is no news where the mail system is down.
        trigger::send(&path, bytes, globals.trigger_timeout).unwrap_or_else(|_| maillog::fatal(DOWN))
    };
    let sent = [
        wake(&globals.queue_service_name, trigger::FLUSH),
        wake(&globals.pickup_service_name, trigger::WAKEUP),
    ];
    for sent in sent {
        sent.wait(until.saturating_duration_since(Instant::now()));
    }
}

/// One deferred message.
pub fn file(config: &Config, id: &str) {
    if QueueId::parse(id.as_bytes()).is_err() {
        maillog::fatal(format_args!("Cannot flush queue ID - invalid name: \"{}\"", cut(id)));
    }
    let globals = config.globals();
    let path = format!("public/{}", globals.flush_service_name);
    match flush::send_file(&path, globals.ipc_timeout, id) {
        Status::Ok => {}
        Status::Bad => maillog::fatal(format_args!("Invalid request: \"{id}\"")),
        _ => maillog::fatal(DOWN),
    }
}

/// All mail for a site.
pub fn site(config: &Config, site: &str) {
    if !is_destination(site) {
        maillog::fatal(format_args!("Cannot flush mail queue - invalid destination: \"{}\"", cut(site)));
    }
    let globals = config.globals();
    let path = format!("public/{}", globals.flush_service_name);
    let status = match is_eligible(config, site) {
        Ok(true) => flush::send_site(&path, globals.ipc_timeout, site),
        Ok(false) => Status::Denied,
        Err(error) => {
            log::warn!("{error}");
            Status::Fail
        }
    };
    match status {
        Status::Ok => {}
        Status::Bad => maillog::fatal(format_args!("Invalid request: \"{site}\"")),
        Status::Denied => {
            maillog::fatal(format_args!("Flush service is not configured for destination \"{site}\""))
        }
        Status::Fail => maillog::fatal(DOWN),
    }
}

/// What is shown of a long word (observed, 3.7.11).
fn cut(word: &str) -> String {
    const SHOWN: usize = 100;
    match word.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}...", &word[..at]),
        None => word.to_owned(),
    }
}

/// A host name, or an address between brackets.
fn is_destination(site: &str) -> bool {
    if site.starts_with('[') {
        return AddressLiteral::parse(site.as_bytes()).is_some();
    }
    DomainName::check(site.as_bytes()).is_ok()
}

fn is_eligible(config: &Config, site: &str) -> Result<bool, String> {
    let globals = config.globals();
    let parents = Parents::of(FAST_FLUSH_DOMAINS, globals.parent_domain_matches_subdomains.as_bytes())
        .map_err(|error| error.to_string())?;
    let domains = globals.fast_flush_domains.as_bytes();
    DomainList::open(FAST_FLUSH_DOMAINS, domains, parents, Opening::FatalErrors)
        .map_err(|error| error.to_string())?
        .matches(site.as_bytes())
        .map_err(|error| error.to_string())
}
