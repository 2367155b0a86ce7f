//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use config::Override;

/// A client name as given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NameArgument {
    /// A name.
    Name(Vec<u8>),
    /// `[UNAVAILABLE]`: there is none.
    None,
    /// `[TEMPUNAVAIL]`: it cannot be looked up now.
    Temporary,
}

/// What the command line says.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    /// `-c`
    pub config: Option<PathBuf>,
    /// `-s`: a service of master.cf.
    pub service: Option<String>,
    /// `-o`
    pub overrides: Vec<Override>,
    /// Client address.
    pub address: IpAddr,
    /// `--name`
    pub name: Option<NameArgument>,
    /// `--reverse-name`
    pub reverse_name: Option<NameArgument>,
    /// `--helo`
    pub helo: Option<Vec<u8>>,
    /// `--smtp`: HELO, not EHLO.
    pub plain_smtp: bool,
    /// `--login`
    pub login: Option<Vec<u8>>,
    /// Sender.
    pub sender: Vec<u8>,
    /// Recipient.
    pub recipient: Vec<u8>,
    /// Without `--no-policy`.
    pub(crate) ask_policy: bool,
    /// Without `--no-probe`.
    pub probe: bool,
    /// `--ask-milters`
    pub(crate) ask_milters: bool,
    /// `-m`: the message, `-` for standard input.
    pub message: Option<PathBuf>,
    /// `--json`
    pub json: bool,
}

impl Arguments {
    /// Reads the command line; ends the program when it is wrong, and for `--help`.
    pub(crate) fn read() -> Self {
        Self::from_matches(&mut command().get_matches())
    }

    fn from_matches(matches: &mut ArgMatches) -> Self {
        let mut text = |name: &str| matches.remove_one::<String>(name);
        let (service, helo, login) = (text("service"), text("helo"), text("login"));
        let (sender, recipient) = (text("SENDER").unwrap_or_default(), text("RECIPIENT").unwrap_or_default());
        let sender = if sender == "<>" { String::new() } else { sender };
        Self {
            config: matches.remove_one("config"),
            service,
            overrides: matches.remove_many("option").map(Iterator::collect).unwrap_or_default(),
            address: matches.remove_one("ADDRESS").expect("clap insists on it"),
            name: matches.remove_one("name"),
            reverse_name: matches.remove_one("reverse-name"),
            helo: helo.map(String::into_bytes),
            plain_smtp: matches.get_flag("smtp"),
            login: login.map(String::into_bytes),
            sender: sender.into_bytes(),
            recipient: recipient.into_bytes(),
            ask_policy: !matches.get_flag("no-policy"),
            probe: !matches.get_flag("no-probe"),
            ask_milters: matches.get_flag("ask-milters"),
            message: matches.remove_one("message"),
            json: matches.get_flag("json"),
        }
    }
}

fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("postwhy")
        .about(
            "Shows what the SMTP server answers to a client and a recipient, and which restriction says so.",
        )
        .arg(
            option("config", "DIRECTORY", "Where main.cf and master.cf are")
                .short('c')
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            option("service", "NAME[/TYPE]", "Service of master.cf; the first smtpd when not given")
                .short('s'),
        )
        .arg(
            option("option", "NAME=VALUE", "Setting in place of that of main.cf and master.cf")
                .short('o')
                .action(ArgAction::Append)
                .value_parser(|text: &str| Override::parse(text.as_bytes()).map_err(|e| e.to_string())),
        )
        .arg(
            option("name", "NAME", "Verified name of the client; looked up when not given")
                .value_parser(name),
        )
        .arg(option("reverse-name", "NAME", "Unverified name of the client").value_parser(name))
        .arg(option("helo", "NAME", "Argument of EHLO").allow_hyphen_values(true))
        .arg(flag("smtp", "The client says HELO, not EHLO"))
        .arg(option("login", "NAME", "SASL login name"))
        .arg(flag("no-policy", "Ask no policy servers"))
        .arg(flag("no-probe", "Verify no addresses, so that no probes are sent"))
        .arg(flag("ask-milters", "Ask the Milters, which are real and may act on what they are told"))
        .arg(
            option("message", "FILE", "Message to walk through header and body checks; - is standard input")
                .short('m')
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(flag("json", "Print JSON").short('j'))
        .arg(
            Arg::new("ADDRESS")
                .required(true)
                .value_parser(value_parser!(IpAddr))
                .help("Address of the client"),
        )
        .arg(Arg::new("SENDER").required(true).help("Sender; \"\" or <> is the null sender"))
        .arg(Arg::new("RECIPIENT").required(true).help("Recipient"))
}

#[allow(clippy::unnecessary_wraps, reason = "the shape of clap's parsers")]
fn name(text: &str) -> Result<NameArgument, String> {
    Ok(match text {
        "[UNAVAILABLE]" => NameArgument::None,
        "[TEMPUNAVAIL]" => NameArgument::Temporary,
        name => NameArgument::Name(name.as_bytes().to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use super::{Arguments, NameArgument, command};

    #[test]
    fn arguments() {
        command().debug_assert();
        let words =
            ["postwhy", "-s", "smtp", "-o", "a=b", "--name", "[UNAVAILABLE]", "192.0.2.1", "<>", "b@c"];
        let read = Arguments::from_matches(&mut command().try_get_matches_from(words).expect("reads"));
        assert_eq!((read.sender.as_slice(), read.recipient.as_slice()), (&b""[..], &b"b@c"[..]));
        assert_eq!(read.name, Some(NameArgument::None));
        assert!(read.ask_policy && read.probe && !read.json && read.overrides.len() == 1);
        for words in [&["postwhy"][..], &["postwhy", "x", "a", "b"], &["postwhy", "192.0.2.1", "a"]] {
            assert!(command().try_get_matches_from(words).is_err());
        }
    }
}
