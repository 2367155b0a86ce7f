//! The postconf command: shows and changes parameters of main.cf and entries of master.cf.
//!
//! It reads the files but evaluates no more of them than it is asked for, so that it works on a
//! configuration that no program would start with. [`catalog`] knows which names mean something, and
//! tells about those that do not; [`display`] makes lines; [`main_cf_edit`] and [`master_cf_edit`]
//! change files by way of a copy. Spec commands, section 3; what is said where, and which options
//! exclude each other, was compared with Postfix 3.7.

#![forbid(unsafe_code)]

pub mod catalog;
pub mod database;
mod deprecated;
pub mod display;
mod facilities;
mod main_cf_edit;
pub mod master_cf;
mod master_cf_edit;
mod master_cf_show;
mod names;
pub mod options;
mod rewrite_file;

use std::ffi::OsString;
use std::io::{self, Write};

use config::{Config, ConfigDir, Dictionary};

use catalog::Catalog;
use options::{Mode, Options};

/// Why the command ends before its time.
#[derive(Debug)]
pub enum Stop {
    /// With a text behind `fatal: `.
    Fatal(String),
    /// With this status, everything being said.
    Status(i32),
}

impl Stop {
    pub(crate) fn fatal(text: impl Into<String>) -> Self {
        Self::Fatal(text.into())
    }
}

impl From<config::Error> for Stop {
    fn from(error: config::Error) -> Self {
        Self::Fatal(error.to_string())
    }
}

/// Standard output, held back so that warnings at the end come after it, and a fatal error instead
/// of it.
#[derive(Default)]
pub struct Output(Vec<u8>);

impl Output {
    /// Adds a line.
    pub fn line(&mut self, text: &[u8]) {
        self.0.extend_from_slice(text);
        self.0.push(b'\n');
    }

    /// Writes what is held back.
    ///
    /// # Errors
    /// When it cannot be written. A reader that has seen enough (`head`) is no fault worth telling.
    pub fn flush(&mut self) -> Result<(), Stop> {
        let text = std::mem::take(&mut self.0);
        let mut stdout = io::stdout().lock();
        stdout.write_all(&text).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Stop::Status(1),
            _ => Stop::fatal(format!("write error: {}", sys::error_text(&error))),
        })
    }
}

/// Runs the command and ends the process.
pub fn run() -> ! {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "postconf".into()).to_string_lossy().into_owned();
    // Postfix shows the name as it was called, path and all.
    maillog::stderr_only_in_ascii(&name);
    let arguments: Vec<OsString> = arguments.collect();
    if config::version::told("postconf", &arguments) {
        std::process::exit(0);
    }
    let status = match execute(&name, &arguments) {
        Ok(()) => 0,
        Err(Stop::Status(status)) => status,
        Err(Stop::Fatal(text)) => maillog::fatal(text),
    };
    std::process::exit(status);
}

fn execute(name: &str, arguments: &[OsString]) -> Result<(), Stop> {
    let directory = match options::directory(arguments) {
        Some(path) => ConfigDir::new(path),
        None => ConfigDir::from_environment(),
    };
    let minor = || maillog::silently(|| version_around(&directory));
    let options = Options::parse(name, arguments, minor).map_err(|error| Stop::fatal(error.to_string()))?;
    maillog::set_verbose(options.verbosity);
    let mut output = Output::default();
    match options.mode {
        Mode::ClientSasl => {
            facilities::client_sasl(&mut output);
            Ok(())
        }
        Mode::ServerSasl => {
            facilities::server_sasl(&mut output);
            Ok(())
        }
        Mode::LockTypes => {
            facilities::lock_types(&mut output);
            Ok(())
        }
        Mode::TableTypes => {
            // Postfix's types depend on it.
            Config::load("postconf", &directory, &[])?;
            facilities::table_types(&mut output);
            Ok(())
        }
        Mode::Tls => facilities::tls(&mut output, &options.tls_mode),
        Mode::ExpandedTemplates => templates(&directory, &options, "expand_templates"),
        Mode::Templates => templates(&directory, &options, "dump_templates"),
        Mode::MainParameters => match options.edit {
            Some(edit) => main_cf_edit::edit(&directory, edit, &options.names),
            None => show_main(&mut output, directory, &options),
        },
        Mode::MasterEntries | Mode::MasterFields | Mode::MasterParameters => match options.edit {
            Some(edit) => master_cf_edit::edit(&directory, options.mode, edit, &options.names),
            None => show_master(&mut output, directory, &options),
        },
    }?;
    output.flush()
}

/// Which Postfix is around, by the part of its version behind `3.`, whatever else main.cf has in it.
fn version_around(directory: &ConfigDir) -> u32 {
    let main = Dictionary::read(directory).unwrap_or_default();
    config::version::of_main_cf(&main).0
}

fn templates(directory: &ConfigDir, options: &Options, action: &str) -> Result<(), Stop> {
    if options.names.len() > 1 {
        return Err(Stop::fatal("options -b and -t require at most one template file"));
    }
    // What is wrong with main.cf is postconf's to tell, not that of the program that it runs.
    Config::load("postconf", directory, &[])?;
    let catalog = maillog::silently(|| Catalog::read(directory.clone(), options))?;
    facilities::templates(&catalog, action, options.names.first().map(Vec::as_slice))
}

fn show_main(output: &mut Output, directory: ConfigDir, options: &Options) -> Result<(), Stop> {
    let mut catalog = Catalog::read(directory, options)?;
    if !options.defaults {
        catalog.find_uses()?;
    }
    catalog.show(output, options)?;
    output.flush()?;
    if !options.defaults && !options.quiet {
        // Not the short form: both are to be told.
        if catalog.report_main() | catalog.report_services() {
            catalog.report_details();
        }
    }
    Ok(())
}

fn show_master(output: &mut Output, directory: ConfigDir, options: &Options) -> Result<(), Stop> {
    let mut catalog = Catalog::read(directory, options)?;
    catalog.find_uses()?;
    master_cf_show::show(output, &catalog, options)?;
    output.flush()?;
    if !options.quiet && catalog.report_services() {
        catalog.report_details();
    }
    Ok(())
}
