//! Why was this refused? Runs the SMTP server's own restrictions for a client, a sender and a recipient, delivers
//! nothing, and shows each restriction, each look-up, and the reply.
//!
//! The evaluation is that of the smtpd library, with the settings of a service of master.cf ([`service`]), the real
//! tables, DNS, policy servers and address verification, seen from where a process of the service stands ([`view`]);
//! [`trace`] keeps the steps, [`report`] shows them as text or JSON. Refused, with status 1: settings that stop the
//! server, a service that is not there, a mail system that is down (trivial-rewrite has to answer). Where the caller
//! may not see what the server sees, the answer is that it cannot be told, with status 3.

#![forbid(unsafe_code)]

mod arguments;
mod report;
mod service;
mod trace;
mod view;

use std::io::ErrorKind;
use std::net::IpAddr;

use access::client::login::Login;
use access::client::{Client, NameStatus, UNKNOWN};
use access::examine::{Examination, Opened, Question};
use access::services::Services;
use access::settings::AccessParams;
use command::{Command, Log};
use config::{Config, ConfigDir};
use dns::Name;
use ipc::client::Stream;
use lookup::Tell;

use crate::arguments::{Arguments, NameArgument};
use crate::report::Report;
use crate::service::Service;
use crate::trace::Trace;
use crate::view::View;

/// Exit status when the question cannot be answered from here.
const CANNOT_TELL: i32 = 3;

/// Why there is no answer.
enum Failure {
    /// The server would not start, the question makes no sense, the mail system is down.
    Fatal(String),
    /// The server may well have an answer.
    CannotTell(String),
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Fatal(text)
    }
}

/// The program.
pub fn main() -> ! {
    let _command = Command::start(Log::Stderr);
    // What the server would log is part of the report; its warnings are not.
    log::set_max_level(log::LevelFilter::Warn);
    let arguments = Arguments::read();
    match run(&arguments) {
        Ok(()) => sys::process::exit_now(0),
        Err(Failure::Fatal(text)) => maillog::fatal(text),
        Err(Failure::CannotTell(why)) => {
            log::warn!("cannot tell: {why}");
            sys::process::exit_now(CANNOT_TELL)
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let directory = arguments.config.clone().map_or_else(ConfigDir::from_environment, ConfigDir::new);
    let service = Service::find(&directory, arguments.service.as_deref())?;
    let overrides: Vec<_> = service.overrides.iter().chain(&arguments.overrides).cloned().collect();
    let config = Config::load_service("smtpd", "smtpd", &service.name, &directory, &overrides)
        .map_err(|error| error.to_string())?;
    let params = AccessParams::new(&config).map_err(|error| error.to_string())?;
    let view = View::new(&config, &service);
    let queue = &config.globals().queue_directory;
    std::env::set_current_dir(queue).map_err(|error| format!("chdir {queue}: {error}"))?;
    let reachable = |name: &str| Stream::connect(format!("private/{name}"), params.ipc_timeout).map(drop);
    if let Err(error) = reachable(&params.rewrite_service_name) {
        let text = format!(
            "connect to {queue}/private/{}: {}",
            params.rewrite_service_name,
            sys::error_text(&error)
        );
        return Err(match error.kind() {
            ErrorKind::PermissionDenied => Failure::CannotTell(format!("{text}: ask as root")),
            _ => Failure::Fatal(format!("{text}: is the mail system running?")),
        });
    }
    // What smtpd has opened by the proxymap service is opened here where there is none.
    if reachable(&config.globals().proxymap_service_name).is_ok() {
        lookup::configure(&config);
    } else {
        lookup::configure_to_examine(&config);
    }
    let trace = Trace::new(arguments.ask_policy, arguments.probe);
    let (opened, unopened) = lookup::gather(Tell::Log, || Opened::new(&params, trace.watch()));
    let opened = opened?;
    view.enter(&config)?;
    let services = Services::new(&params);
    let client = client(arguments, &config).map_err(|error| error.to_string())?;
    let login = arguments.login.clone().map(Login::by_xclient);
    let question = Question {
        helo: arguments.helo.clone(),
        plain_smtp: arguments.plain_smtp,
        sender: arguments.sender.clone(),
        recipient: arguments.recipient.clone(),
    };
    let examination = Examination {
        params: &params,
        opened: &opened,
        services: &services,
        observer: &trace,
        client: &client,
        login: login.as_ref(),
    };
    let stages = examination.stages(&question);
    let steps = trace.steps();
    let report = Report {
        service: &service,
        client: &client,
        question: &question,
        relay_first: params.relay_before_recipient_restrictions,
        doubt: view.doubt(&stages, &unopened),
        stages: &stages,
        steps: &steps,
    };
    print!("{}", if arguments.json { report.json() } else { report.text() });
    match report.doubt {
        Some(why) => Err(Failure::CannotTell(why)),
        None => Ok(()),
    }
}

/// The client as XCLIENT would describe it; what is not said is looked up.
fn client(arguments: &Arguments, config: &Config) -> Result<Client, config::Error> {
    let mut client = Client::unknown();
    client.set_address(Some(arguments.address));
    client.port = b"0".to_vec();
    client.connected_from = Some(arguments.address);
    let found = found(arguments.address, config.boolean("smtpd_peername_lookup")?, arguments);
    let name = given(arguments.name.as_ref()).unwrap_or_else(|| found.0.clone());
    // A name that is given is the unverified one, too, as with XCLIENT.
    let reverse =
        given(arguments.reverse_name.as_ref()).or_else(|| given(arguments.name.as_ref())).unwrap_or(found.1);
    (client.name, client.name_status) = name;
    (client.reverse_name, client.reverse_status) = reverse;
    client.rename(config.boolean("smtpd_client_port_logging")?);
    Ok(client)
}

type Named = (Vec<u8>, NameStatus);

fn given(argument: Option<&NameArgument>) -> Option<Named> {
    Some(match argument? {
        NameArgument::Name(name) => (name.clone(), NameStatus::Ok),
        NameArgument::None => (UNKNOWN.to_vec(), NameStatus::Permanent),
        NameArgument::Temporary => (UNKNOWN.to_vec(), NameStatus::Temporary),
    })
}

fn found(address: IpAddr, lookup: bool, arguments: &Arguments) -> (Named, Named) {
    if !lookup || (arguments.name.is_some() && arguments.reverse_name.is_some()) {
        let unknown = (UNKNOWN.to_vec(), NameStatus::Permanent);
        return (unknown.clone(), unknown);
    }
    let found = dns::client_name(address);
    (named(found.name), named(found.reverse_name))
}

fn named(name: Name) -> Named {
    match name {
        Name::Found(name) => (name, NameStatus::Ok),
        Name::Temporary => (UNKNOWN.to_vec(), NameStatus::Temporary),
        Name::None => (UNKNOWN.to_vec(), NameStatus::Permanent),
        Name::Forged => (UNKNOWN.to_vec(), NameStatus::Forged),
    }
}
