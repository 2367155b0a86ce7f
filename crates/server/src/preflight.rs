//! A daemon that is asked what it would say at its start ([`config::preflight`]), and does not serve.
//!
//! It goes the way of every start as far as nothing is changed by it: options, parameters, tables and keys. A parameter
//! that cannot be used does not end the examination, so that all of them are told at once.

use std::io::Write;

use config::preflight::{ENVIRONMENT, NAME};
use config::{Config, ConfigDir, Faults};
use maillog::Severity;

use crate::Service;
use crate::complaints;
use crate::options::Options;
use crate::start::{Fatal, Start, Transport};
use crate::startup::{Skeleton, check_requirements, known_at_start};

/// [`config::preflight::marker`], in one piece: by it this file is known for a daemon of Postern's.
const MARKER: &str = "Postern's daemons answer when they are asked what they would say at their start";

/// Whether this process is only asked.
pub(crate) fn is_asked() -> bool {
    std::env::var_os(ENVIRONMENT).is_some_and(|value| value == "1") && !sys::process::is_set_id()
}

/// Answers and ends the process.
pub(crate) fn answer<S: Service>(
    skeleton: &Skeleton,
    process_name: &str,
    options: Options,
    parsed: Result<(), Fatal>,
) -> ! {
    maillog::stderr_only(NAME);
    maillog::catch_panics();
    let faults = Faults::default();
    let outcome = parsed.and_then(|()| examine::<S>(skeleton, process_name, options, &faults));
    let mut told: Vec<(Severity, String)> =
        faults.take().into_iter().map(|error| (Severity::Fatal, error.to_string())).collect();
    if let Err(fatal) = outcome {
        let text = fatal.to_string();
        // A default that cannot be used either is the same mistake.
        if !told.iter().any(|(_, known)| known.starts_with(&text)) {
            let severity = if fatal.matters_if_used() { Severity::Warning } else { Severity::Fatal };
            told.push((severity, text));
        }
    }
    for (severity, text) in told {
        maillog::report(NAME, severity, text.as_bytes());
    }
    // Whoever asked may be gone.
    let _ = writeln!(std::io::stdout(), "{MARKER}");
    sys::process::exit_now(0)
}

fn examine<S: Service>(
    skeleton: &Skeleton,
    process_name: &str,
    mut options: Options,
    faults: &Faults,
) -> Result<(), Fatal> {
    let service_name = options.service_name.take().unwrap_or_else(|| process_name.to_string());
    let directory = ConfigDir::from_environment();
    let overrides = &options.overrides;
    let config = Config::examine_service(
        skeleton.program,
        process_name,
        &service_name,
        &directory,
        overrides,
        faults,
    )?;
    maillog::Settings::new(&config)?;
    lookup::link_drivers();
    lookup::configure_to_examine(&config);
    let start: Start = known_at_start(skeleton, config, service_name, &mut options);
    let (service, mut unopened) = lookup::gather(lookup::Tell::Nothing, || S::configure(&start));
    let mut service = service?;
    check_requirements(S::REQUIRES, &start, &options)?;
    Transport::parse(options.transport.as_deref(), skeleton.transports)?;
    let queue_directory = &start.config.globals().queue_directory;
    std::env::set_current_dir(queue_directory)
        .map_err(|error| Fatal::new(format!("chdir(\"{queue_directory}\"): {}", sys::error_text(&error))))?;
    let (outcome, more) = lookup::gather(lookup::Tell::Nothing, || service.preflight(&start));
    unopened.extend(more);
    for error in start.config.passed_over() {
        maillog::report(NAME, Severity::Warning, error.to_string().as_bytes());
    }
    for complaint in complaints::all(&service, &start, &unopened) {
        maillog::report(NAME, Severity::Warning, complaint.to_string().as_bytes());
    }
    outcome
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_marker_is_the_one_that_is_looked_for() {
        assert_eq!(super::MARKER, config::preflight::marker());
    }
}
