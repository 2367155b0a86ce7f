//! Does it serve? For container probes, load balancers and monitors, which want an exit status and no line in the log.
//!
//! Three depths, each with all of the one before. `live`: a master runs ([`instance`]). `ready`: sockets listen, there is
//! room, and the two services that every message needs answer as they answer smtpd ([`services`]). `deep`: also what mail
//! depends on outside: filters, Milters, policy and auth servers, the DNS ([`remote`]), certificates, and how the queue is.
//! No check makes a session with an SMTP server of this system, as that would be logged; cleanup is given a message that
//! is taken back, as after a client's RSET.
//!
//! Exit status 0: nothing has failed; 1: something has; 3: nothing has, but something could not be looked at, mostly for
//! want of rights. Each wait is bounded by `--timeout`.

#![forbid(unsafe_code)]

mod arguments;
mod findings;
mod instance;
mod remote;
mod services;
mod subject;

use command::{Command, Log};

use crate::arguments::{Arguments, Depth};
use crate::findings::Findings;
use crate::subject::Subject;

/// The program.
pub fn main() -> ! {
    let _command = Command::start(Log::Stderr);
    // The findings are all that is said.
    log::set_max_level(log::LevelFilter::Off);
    let arguments = Arguments::read();
    let findings = examine(&arguments);
    findings.print(arguments.depth, arguments.json);
    sys::process::exit_now(findings.status())
}

fn examine(arguments: &Arguments) -> Findings {
    let mut findings = Findings::default();
    let Some(subject) = findings.require("configuration", || Subject::read(arguments)) else {
        return findings;
    };
    findings.add("master", || instance::master(&subject));
    if arguments.depth >= Depth::Ready {
        findings.add("listening", || instance::listening(&subject));
        findings.add("rewrite", || services::rewrite(&subject));
        findings.add("cleanup", || services::cleanup(&subject));
        findings.add("disk", || instance::disk(&subject));
    }
    if arguments.depth >= Depth::Deep {
        findings.add("descriptors", || instance::descriptors(&subject));
        findings.add("queue", || services::queue(&subject));
        findings.add("dns", || remote::dns(&subject));
        for server in remote::servers(&subject) {
            findings.add(server.kind.name(), || server.ask(&subject));
        }
        for smtpd in &subject.smtpds {
            findings.add("certificates", || remote::certificates(&smtpd.config, "smtpd"));
        }
        findings.add("certificates", || remote::certificates(&subject.config, "smtp"));
    }
    findings
}
