//! The command line.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, Command, value_parser};

use crate::checks;

/// What was asked for.
#[derive(Debug)]
pub struct Options {
    /// Where the filter listens.
    pub filter: String,
    /// Where the filter passes mail on to.
    pub listen: String,
    /// The filter's process, whose memory is looked at.
    pub pid: Option<u32>,
    /// Content that must be refused.
    pub rejected: Option<Vec<u8>>,
    /// Bytes of the big message.
    pub big: usize,
    /// Sessions at once.
    pub sessions: usize,
    /// Messages of which the time is taken.
    pub messages: usize,
    /// How long to wait for any reply.
    pub timeout: Duration,
    only: Vec<String>,
    skip: Vec<String>,
}

impl Options {
    /// Whether this check is to be run.
    pub fn wants(&self, name: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|other| other == name);
        let vital = checks::ALL.iter().any(|check| check.name == name && check.vital);
        vital || ((self.only.is_empty() || named(&self.only)) && !named(&self.skip))
    }
}

/// The options; `None` when only the list of checks is wanted.
pub fn parse() -> Result<Option<Options>, String> {
    let mut matches = command().get_matches();
    if matches.get_flag("list") {
        return Ok(None);
    }
    let mut list =
        |name: &str| matches.remove_many::<String>(name).map(Iterator::collect).unwrap_or_default();
    let (only, skip): (Vec<String>, Vec<String>) = (list("only"), list("skip"));
    for name in only.iter().chain(&skip) {
        if !checks::ALL.iter().any(|check| check.name == name) {
            return Err(format!("there is no check {name}; --list names them"));
        }
    }
    let rejected = match matches.remove_one::<PathBuf>("reject") {
        Some(path) => Some(fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?),
        None => None,
    };
    let mut text = |name: &str| matches.remove_one::<String>(name).expect("clap insists on it");
    let (filter, listen) = (text("filter"), text("listen"));
    let mut number = |name: &str| matches.remove_one::<usize>(name).expect("it has a default");
    let (big, sessions, messages) = (number("big"), number("sessions"), number("messages"));
    let timeout = Duration::from_secs(number("timeout").try_into().unwrap_or(u64::MAX));
    let pid = matches.remove_one("pid");
    Ok(Some(Options { filter, listen, pid, rejected, big, sessions, messages, timeout, only, skip }))
}

fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let number = |name, value, default, help| {
        option(name, value, help).default_value(default).value_parser(value_parser!(usize))
    };
    Command::new("filter-test")
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "Tests an SMTP before-queue content filter: plays the server in front of it and the one behind.",
        )
        .arg(option("filter", "HOST:PORT", "Where the filter listens").required_unless_present("list"))
        .arg(
            option("listen", "HOST:PORT", "Where the filter passes mail on to; this program listens there")
                .required_unless_present("list"),
        )
        .arg(
            option(
                "pid",
                "PID",
                "The filter's process: its memory and its children's must not grow with a big message",
            )
            .value_parser(value_parser!(u32)),
        )
        .arg(
            option("reject", "FILE", "A message that the filter must refuse, as a file")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(number("big", "BYTES", "50000000", "Size of the big message"))
        .arg(number("sessions", "NUMBER", "10", "Sessions at once"))
        .arg(number("messages", "NUMBER", "20", "Messages of which the time is taken"))
        .arg(number(
            "timeout",
            "SECONDS",
            "100",
            "How long to wait for a reply; Postfix's smtpd_proxy_timeout is 100",
        ))
        .arg(
            option("only", "CHECK,...", "Runs only these checks")
                .value_delimiter(',')
                .action(ArgAction::Append),
        )
        .arg(
            option("skip", "CHECK,...", "Leaves these checks out")
                .value_delimiter(',')
                .action(ArgAction::Append),
        )
        .arg(Arg::new("list").long("list").action(ArgAction::SetTrue).help("Names all checks"))
}
