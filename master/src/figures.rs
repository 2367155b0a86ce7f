//! What master counts, for each of its services, where `metrics_enable` says so.

use std::path::Path;

use config::Config;
use metrics::{Family, Fault};

use crate::service::Service;

/// Begins to count, if that is wanted; master goes on when it cannot.
pub(crate) fn start(config: &Config) {
    if !config.globals().metrics_enable || metrics::is_on() {
        return;
    }
    match metrics::start(Path::new("pid"), "master") {
        Ok(()) => {
            // Of the services that an earlier master had.
            metrics::clear(Family::Processes);
            metrics::clear_faults();
        }
        Err(error) => log::warn!("nothing is counted: {error}"),
    }
}

/// A process was started.
pub(crate) fn born(service: &Service) {
    if metrics::is_on() {
        metrics::count_for(Family::ProcessesStarted, &name(service), &[]);
    }
}

/// A process ended otherwise than it should: with this status, or by this signal.
pub(crate) fn failed(service: &Service, cause: &str, number: i32) {
    if metrics::is_on() {
        let name = name(service);
        metrics::count_for(Family::ProcessesFailed, &name, &[cause]);
        metrics::fault(Fault::Service, &name, &format_args!("a process ended with {cause} {number}"));
    }
}

/// A process has served somebody, and is free again.
pub(crate) fn served(service: &Service) {
    metrics::fault_over(Fault::Service, &String::from_utf8_lossy(&service.definition.entry.name));
}

/// How many processes there are.
pub(crate) fn processes(service: &Service) {
    if metrics::is_on() {
        let (name, pool) = (name(service), &service.pool);
        metrics::set(Family::Processes, &name, &["busy"], pool.total().saturating_sub(pool.idle()).into());
        metrics::set(Family::Processes, &name, &["idle"], pool.idle().into());
    }
}

fn name(service: &Service) -> String {
    String::from_utf8_lossy(&service.definition.entry.name).into_owned()
}
