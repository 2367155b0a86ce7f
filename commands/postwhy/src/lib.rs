//! Why was this refused? Runs the SMTP server's own restrictions for a client, a sender and a recipient, then what cleanup
//! does to the addresses and to a message if there is one; delivers nothing, and shows each restriction, each look-up, and
//! the reply.
//!
//! The evaluation is that of the crates `access`, `addressing` and `checks`, which the daemons use, with the settings
//! of a service of master.cf ([`service`]), the real tables, DNS, policy servers and address verification, seen from
//! where a process of the service stands ([`view`]); [`filters`] asks Milters when it is told to; [`trace`] keeps the
//! steps, [`report`] shows them as text or JSON. Refused, with status 1: settings that stop the server, a service that
//! is not there, a mail system that is down (trivial-rewrite has to answer). Where the caller may not see what the
//! server sees, the answer is that it cannot be told, with status 3.

#![forbid(unsafe_code)]

mod arguments;
mod cleanup;
mod content;
mod counters;
mod filters;
mod findings;
mod message;
mod report;
mod service;
mod steps;
mod trace;
mod view;

use std::io::ErrorKind;
use std::net::IpAddr;

use access::client::login::Login;
use access::client::{Client, NameStatus, UNKNOWN};
use access::examine::{Examination, Opened, Question};
use access::observer::{Event, Observer};
use access::services::Services;
use access::settings::AccessParams;
use command::{Command, Log};
use config::{Config, ConfigDir};
use dns::Name;
use ipc::cleanup::Flags;
use ipc::client::Stream;
use lookup::Tell;

use crate::arguments::{Arguments, NameArgument};
use crate::cleanup::Cleanup;
use crate::filters::Filters;
use crate::message::Message;
use crate::report::{CLEANUP, Report};
use crate::service::Service;
use crate::steps::Step;
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
    lookup::link_drivers();
    // What smtpd has opened by the proxymap service is opened here where there is none.
    if reachable(&config.globals().proxymap_service_name).is_ok() {
        lookup::configure(&config);
    } else {
        lookup::configure_to_examine(&config);
    }
    let trace = Trace::new(arguments.ask_policy, arguments.probe);
    let (opened, mut unopened) = lookup::gather(Tell::Log, || Opened::new(&params, trace.watch()));
    let opened = opened?;
    let message = match &arguments.message {
        Some(path) => {
            let limit = u64::try_from(config.globals().message_size_limit).unwrap_or(0);
            Some(Message::read(path, limit, params.dialect.marks_one_line())?)
        }
        None => None,
    };
    // Behind a content filter this cleanup has nothing to say, and need not be there.
    let opens = !params.has_filter;
    let open = || opens.then(|| Queued::open(&directory, &config, arguments)).transpose();
    let (queued, unopened_there) = lookup::gather(Tell::Log, open);
    let queued = queued?;
    unopened.extend(unopened_there);
    let filters = Filters::open(&config, params.receive_override.no_milters())?;
    view.enter(&config)?;
    let services = Services::new(&params);
    let client = client(arguments, &config).map_err(|error| error.to_string())?;
    let login = arguments.login.clone().map(Login::by_xclient);
    counters::tell(&config, &service.name, arguments.address, params.ipc_timeout, &trace.handle())
        .map_err(|error| error.to_string())?;
    let milters = filters.of_client(&client.address)?;
    if arguments.ask_milters {
        trace.ask(filters.ask(&milters, trace.handle()));
    } else {
        for milter in &milters {
            let (name, event, text) = (milter.name.clone(), String::new(), String::new());
            trace.handle().push(Step::Milter { name, event, answer: "not asked", text });
        }
    }
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
    let examined = examination.examine(&question);
    let mut doubt = view.doubt(&examined.stages, &unopened);
    let mut cleanup_refusal = None;
    let cleanup = if !examined.is_passed() {
        None
    } else if let Some(queued) = &queued {
        trace.event(&Event::Stage { name: CLEANUP });
        let message = message.map(|mut message| {
            message.receive(&params, &client, login.as_ref(), &question, &examined);
            message
        });
        let mut flags = Flags::SMTPD;
        flags.remove(params.receive_override.cleared);
        let answer = queued.cleanup.answer(&examined, flags, message.as_ref(), &trace.handle());
        cleanup_refusal = answer.refusal;
        if let (Some(asking), Some(written)) = (trace.asking().as_mut(), answer.written) {
            cleanup_refusal =
                examination.with_facts(&question, &examined, |facts| asking.message(&written, facts));
        }
        let limit = queued.cleanup.message_size_limit();
        if cleanup_refusal.as_ref().is_some_and(|refusal| refusal.starts_with(b"451 4.3.0")) {
            doubt = view.doubt_of(&unopened);
        } else if cleanup_refusal.is_none() && message.is_some_and(|message| message.is_tight(limit)) {
            doubt = Some(
                "it has little less than message_size_limit: the queue file may be too large".to_owned(),
            );
        }
        Some(&queued.service)
    } else {
        doubt = message.as_ref().map(|_| "the content filter has a say in it, and was not asked".to_owned());
        None
    };
    if let Some(asking) = trace.asking().as_mut() {
        asking.end();
    } else if arguments.message.is_some()
        && !milters.is_empty()
        && cleanup_refusal.is_none()
        && examined.is_passed()
    {
        doubt = doubt.or_else(|| Some("Milters have a say in it, and were not asked".to_owned()));
    }
    let steps = trace.steps();
    let report = Report {
        service: &service,
        client: &client,
        question: &question,
        relay_first: params.relay_before_recipient_restrictions,
        doubt,
        stages: &examined.stages,
        cleanup,
        cleanup_refusal: cleanup_refusal.as_deref(),
        steps: &steps,
    };
    print!("{}", if arguments.json { report.json() } else { report.text() });
    match report.doubt {
        Some(why) => Err(Failure::CannotTell(why)),
        None => Ok(()),
    }
}

/// The service that mail is handed to.
struct Queued {
    service: Service,
    cleanup: Cleanup,
}

impl Queued {
    /// Opens what it opens; `config` is that of the server.
    fn open(directory: &ConfigDir, config: &Config, arguments: &Arguments) -> Result<Self, String> {
        let service = Service::find_cleanup(directory, &config.globals().cleanup_service_name)?;
        let overrides: Vec<_> = service.overrides.iter().chain(&arguments.overrides).cloned().collect();
        let config = Config::load_service("cleanup", "cleanup", &service.name, directory, &overrides)
            .map_err(|error| error.to_string())?;
        let cleanup = Cleanup::open(&config)?;
        Ok(Self { service, cleanup })
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
