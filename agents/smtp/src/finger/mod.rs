//! posttls-finger: what a server offers of TLS, and whether its certificate is what a level demands (posttls-finger(1)).
//! It finds and protects a connection as the agent does, by the parameters that its options stand for.
//!
//! | room | what it is |
//! | --- | --- |
//! | `visit` | a server: connecting, the dialogue, TLS, and once more with a session |
//! | `chain` | the certificates of a server, for people to read |
//! | `chat` | commands and replies, and how they are shown |
//! | `command_line` | options, and the parameters that they stand for |
//!
//! Each uses those below it only.

mod chain;
mod chat;
mod command_line;
mod visit;

use std::net::SocketAddr;
use std::path::Path;

use command::{Command, Log};
use config::Config;
use lookup::{Flags, Maps, Opening};
use server::Fatal;

use crate::destination::{self, Destination, Place};
use crate::protocol::Protocol;
use crate::servers::{Finder, Found, Server, Trail};
use crate::settings::Finding;
use crate::tls::{self, Level, NoPolicy, Terms, Tls};

#[cfg(test)]
pub(crate) use chat::Chat;
use command_line::CommandLine;
use visit::Visit;

/// The program.
pub(crate) fn run() -> ! {
    let command = Command::start(Log::Stderr);
    let options = CommandLine::read(&command);
    let config = command.configure_with("posttls-finger", &options.overrides(options.level));
    let resort = command.configure_with("posttls-finger", &options.overrides(options.resort()));
    match look(&options, &config, &resort) {
        Ok(()) => sys::process::exit_now(0),
        Err(fault) => maillog::fatal(fault),
    }
}

/// Looks at the destination.
fn look(options: &CommandLine, config: &Config, resort: &Config) -> Result<(), Fatal> {
    let protocol = options.protocol();
    let destination = Destination::parse(&options.given, protocol).unwrap_or_else(|error| {
        maillog::fatal(format_args!("{error} in server description: {}", options.destination))
    });
    let finding = Finding::new(config, protocol)?;
    let tls = Tls::open(config, protocol, &finding)?;
    let has_resort = tls.works() && (options.level.is_dane() || options.lacks_digests());
    let resort =
        has_resort.then(|| maillog::silently(|| Tls::open(resort, protocol, &finding))).transpose()?;
    become_mail_owner(config)?;
    let finger = Finger { options, config, finding, tls, resort, resolver: dns::Resolver::default() };
    match &destination.place {
        Place::Unix(path) => finger.path(path),
        Place::Inet { host, service, is_literal } => {
            let usual = if protocol == Protocol::Lmtp { "24" } else { "smtp" };
            let service = service.as_deref().unwrap_or(usual);
            let port = destination::port(&config.globals().known_tcp_ports, service, &destination.text);
            finger.host(host, port, *is_literal || protocol == Protocol::Lmtp)
        }
    }
}

/// Servers are nobody's to talk to as root.
fn become_mail_owner(config: &Config) -> Result<(), Fatal> {
    if !sys::user::uid().is_root() {
        return Ok(());
    }
    let owner = &config.globals().accounts.mail_owner;
    sys::user::set_gid(owner.gid)
        .and_then(|()| sys::user::set_groups(&[owner.gid]))
        .and_then(|()| sys::user::set_uid(owner.uid))
        .map_err(|error| Fatal::new(format!("cannot become {}: {}", owner.name, sys::error_text(&error))))
}

/// What it takes to look.
struct Finger<'f> {
    options: &'f CommandLine,
    config: &'f Config,
    finding: Finding,
    tls: Tls,
    /// What is done where there are no TLSA records.
    resort: Option<Tls>,
    resolver: dns::Resolver,
}

impl Finger<'_> {
    fn path(&self, path: &Path) -> Result<(), Fatal> {
        let own = self.config.globals().myhostname.as_str();
        let name = format!("{own}[{}]", path.display());
        let place = tls::Place { destination: own, nexthop: own, host: own, port: 0 };
        let Some((tls, terms)) = self.terms(place, &Trail::default()) else { return Ok(()) };
        let visit = Visit::new(self.options, self.config, tls, &terms, &name)?;
        if let Err(error) = visit.of_path(path) {
            let error = sys::error_text(&error);
            log::info!(
                "Failed to establish session to {}: connect to {name}: {error}",
                self.options.destination
            );
        }
        Ok(())
    }

    fn host(&self, host: &str, port: u16, is_literal: bool) -> Result<(), Fatal> {
        let replies = Maps::open("smtp_dns_reply_filter", b"", Flags::LOCK, Opening::Survive)
            .map_err(|error| Fatal::new(error.to_string()))?;
        let finder = Finder::new(&self.finding, &replies, &self.resolver, port, false);
        let has_exchangers = !is_literal && self.finding.uses_dns;
        let Found { servers, .. } =
            if has_exchangers { finder.of_domain(host) } else { finder.of_host(host) };
        match servers {
            Ok(servers) => {
                for server in servers {
                    if self.server(&server, host)? {
                        break;
                    }
                }
            }
            Err(status) => {
                log::info!("Destination address lookup failed: {}", maillog::shown(&status.text));
            }
        }
        Ok(())
    }

    /// Looks at a server; whether it is there.
    fn server(&self, server: &Server, nexthop: &str) -> Result<bool, Fatal> {
        let address: SocketAddr = server.address;
        let name = format!("{}[{}]:{}", server.host, address.ip(), address.port());
        let place = tls::Place {
            destination: &self.options.destination,
            nexthop,
            host: &server.host,
            port: address.port(),
        };
        let Some((tls, terms)) = self.terms(place, &server.trail) else { return Ok(true) };
        let visit = Visit::new(self.options, self.config, tls, &terms, &name)?;
        let Err(error) = visit.of_address(address) else { return Ok(true) };
        let error = sys::error_text(&error);
        let Self { options: CommandLine { destination, .. }, .. } = self;
        log::info!(
            "Failed to establish session to {destination} via {}: connect to {name}: {error}",
            server.host
        );
        Ok(false)
    }

    /// The terms for a server, and who sees to them: where TLSA records are to decide and there are none, names and
    /// authorities do.
    fn terms(&self, place: tls::Place<'_>, trail: &Trail) -> Option<(&Tls, Terms)> {
        if let Some(resort) = self.resort.as_ref().filter(|_| self.options.level == Level::Fingerprint) {
            self.options.complain_of_digests();
            return resort.terms(place, trail, &self.resolver).ok().map(|terms| (resort, terms));
        }
        let reason = match self.tls.terms(place, trail, &self.resolver) {
            Ok(terms) if terms.level.is_dane() || !self.options.level.is_dane() => {
                return Some((&self.tls, terms));
            }
            Ok(_) => "no TLSA records found".to_owned(),
            // It has words of its own for what there is and is of no use (observed, 3.7.11).
            Err(NoPolicy::Dane(reason)) if reason == "TLSA records unusable" => {
                "no usable TLSA records found".to_owned()
            }
            Err(NoPolicy::Dane(reason)) => reason,
            Err(NoPolicy::Configuration | NoPolicy::OtherServer(_)) => {
                if let Some(file) = self.options.anchor_file() {
                    maillog::fatal(format_args!("Failed to load trust anchor file: {file}"));
                }
                return None;
            }
        };
        if self.options.level == Level::DaneOnly || maillog::verbose() > 0 {
            log::info!("{}, resorting to \"secure\"", maillog::shown(reason.as_bytes()));
        }
        let resort = self.resort.as_ref().unwrap_or(&self.tls);
        resort.terms(place, trail, &self.resolver).ok().map(|terms| (resort, terms))
    }
}
