//! What master would find wrong with main.cf and master.cf, without becoming master.
//!
//! The steps of [`crate::startup`] as far as they change nothing, each going on after an error, so that all is told
//! at once: parameters, entries of master.cf, addresses and ports, programs. What the programs themselves would say
//! is for them to tell: [`Program`] is how they are asked.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use config::{Config, ConfigDir, Faults};
use sys::error_text;

use crate::Fatal;
use crate::command_line::{Inherited, Stress, arguments};
use crate::definition::{Definition, Place, Remark};
use crate::listen;
use crate::needs;
use crate::settings::Settings;

/// Postfix's daemons that Postern does not have.
const PROGRAMS_OF_POSTFIX: &[&str] = &["dnsblog", "lmtp", "postscreen", "qmqpd", "smtp", "tlsproxy"];

/// The queue manager that Postfix had before, and the name of today's in those days.
const OLD_QUEUE_MANAGERS: &[&[u8]] = &[b"nqmgr", b"oqmgr"];

/// What something that is wrong leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It works, perhaps not as it was meant.
    None,
    /// No process of a service would start.
    ServiceDies,
    /// master would lose all its services.
    NothingServed,
    /// master would not start.
    MasterDies,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// What it leads to.
    pub effect: Effect,
    /// In Postfix's words where there are such, with file and line.
    pub text: String,
    /// The service concerned, when it is one alone.
    pub service: Option<String>,
}

/// A program of master.cf, and how master starts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// `NAME TYPE` of the service.
    pub service: String,
    /// Its line in master.cf.
    pub line: usize,
    /// The program.
    pub path: PathBuf,
    /// argv.
    pub arguments: Vec<Vec<u8>>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// What is wrong.
    pub complaints: Vec<Complaint>,
    /// The programs that exist.
    pub programs: Vec<Program>,
}

impl Findings {
    fn add(&mut self, effect: Effect, text: impl Into<String>) {
        self.complaints.push(Complaint { effect, text: text.into(), service: None });
    }
}

/// Reads the configuration of a directory.
pub fn examine(directory: &ConfigDir) -> Findings {
    let mut findings = Findings::default();
    let faults = Faults::default();
    let config = Config::examine_service("master", "master", "", directory, &[], &faults);
    let settings = match &config {
        Ok(config) => Settings::new(config),
        Err(error) => Err(Fatal(error.to_string())),
    };
    for error in faults.take() {
        findings.add(Effect::MasterDies, error.to_string());
    }
    for error in config.iter().flat_map(Config::passed_over) {
        findings.add(Effect::None, error.to_string());
    }
    // The daemons leave it to master.
    if let Some(mismatch) = config.as_ref().ok().and_then(Config::version_mismatch) {
        findings.add(Effect::None, mismatch.to_string());
    }
    match settings {
        Ok(settings) => examine_services(config.as_ref().ok(), &settings, &mut findings),
        // A default that cannot be used either is the same mistake.
        Err(Fatal(text)) if findings.complaints.iter().any(|known| known.text.starts_with(&text)) => {}
        Err(Fatal(text)) => findings.add(Effect::MasterDies, text),
    }
    findings
}

fn examine_services(config: Option<&Config>, settings: &Settings, findings: &mut Findings) {
    let reading = match settings.read_services() {
        Ok(reading) => reading,
        Err(Fatal(text)) => return findings.add(Effect::MasterDies, text),
    };
    // Whoever wants none can say so by `master_service_disable`.
    let effect = if reading.without_network > 0 { Effect::NothingServed } else { Effect::None };
    let place = config.and_then(|config| config.origin("inet_protocols"));
    let place = place.map(|origin| format!(" ({origin})")).unwrap_or_default();
    for warning in settings.network_warnings() {
        findings.add(effect, warning + &place);
    }
    for remark in reading.remarks {
        match remark {
            Remark::Note(_) => {}
            Remark::Warning(text) => findings.add(Effect::None, text),
            Remark::Error(text) => findings.add(Effect::MasterDies, text),
        }
    }
    let master_cf = settings.master_cf();
    if reading.services.is_empty() {
        findings.add(Effect::NothingServed, format!("{}: no services", master_cf.display()));
    }
    for definition in &reading.services {
        examine_service(definition, &master_cf, settings, findings);
    }
    // Of an entry that cannot be read nobody knows what it would be.
    let is_whole = !findings.complaints.iter().any(|known| known.effect > Effect::ServiceDies);
    if let Some(config) = config.filter(|_| is_whole) {
        for text in needs::missing(config, &reading.services, &master_cf) {
            findings.add(Effect::None, text);
        }
    }
}

fn examine_service(definition: &Definition, master_cf: &Path, settings: &Settings, findings: &mut Findings) {
    let entry = &definition.entry;
    let service = format!("{} {}", entry.name.escape_ascii(), entry.transport);
    let line = entry.line;
    let mut add = |effect, text: String| {
        let text = format!("{text} ({}, line {line})", master_cf.display());
        findings.complaints.push(Complaint { effect, text, service: Some(service.clone()) });
    };
    match &definition.place {
        Place::Inet(addresses) => match addresses.sockets(&settings.network) {
            Err(text) => add(Effect::MasterDies, text),
            Ok(sockets) => {
                for address in sockets {
                    if let Err(error) = sys::socket::try_bind_inet(address) {
                        let (ip, port) = (address.ip(), address.port());
                        add(Effect::MasterDies, format!("bind {ip} port {port}: {}", error_text(&error)));
                    } else if address.port() == 0 {
                        add(
                            Effect::None,
                            format!("bind {} port 0: the system chooses any port", address.ip()),
                        );
                    }
                }
            }
        },
        Place::Path(path) => {
            if let Err(Fatal(text)) = listen::check_path(
                entry.transport,
                &settings.queue_directory,
                Path::new(OsStr::from_bytes(path)),
            ) {
                add(Effect::MasterDies, text);
            }
        }
    }
    let path = settings.program(&entry.command);
    match is_program(&path) {
        Err(why) => {
            // Who runs Postern alone on Postfix's master.cf lacks some from the first day: that is no mistake of today.
            let is_known = PROGRAMS_OF_POSTFIX.iter().any(|known| known.as_bytes() == entry.command);
            let effect = if is_known { Effect::None } else { Effect::ServiceDies };
            add(effect, format!("master_spawn: exec {}: {why}", path.display()));
            if OLD_QUEUE_MANAGERS.contains(&&*entry.command) {
                add(Effect::ServiceDies, "Postern has one queue manager: the program is qmgr".to_owned());
            }
        }
        Ok(()) => {
            let sockets = match &definition.place {
                Place::Inet(addresses) => addresses.hosts.len(),
                Place::Path(_) => 1,
            };
            let stress = if definition.adapts_to_stress() { Stress::No } else { Stress::Unsupported };
            let arguments = arguments(entry, sockets, stress, Inherited::default());
            findings.programs.push(Program { service, line, path, arguments });
        }
    }
}

/// What `exec` would say, and what would come of it.
fn is_program(path: &Path) -> Result<(), String> {
    let data = fs::metadata(path).map_err(|error| error_text(&error))?;
    if !data.is_file() || data.permissions().mode() & 0o111 == 0 {
        return Err("Permission denied".to_owned());
    }
    if data.len() == 0 {
        // It would be run as a script without a line, as a text without `#!` is run.
        return Err("the file is empty".to_owned());
    }
    Ok(())
}
