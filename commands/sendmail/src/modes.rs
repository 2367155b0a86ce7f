//! What other programs do for sendmail.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use config::{Config, list};

use crate::fatal;
use crate::options::{Mode, Options};

/// Does it, and ends with that program's status.
pub(crate) fn run(config: &Config, options: &Options) -> ! {
    let globals = config.globals();
    let in_commands = |name: &str| Path::new(&globals.command_directory).join(name);
    match options.mode {
        Mode::MailQueue => become_program(&in_commands("postqueue"), &["-p".into()], options, ""),
        Mode::FlushQueue => become_program(&in_commands("postqueue"), &["-f".into()], options, ""),
        Mode::NewAliases => new_aliases(config, options),
        Mode::StandAlone => {
            crate::enqueue::check_submitter(config);
            let smtpd = Path::new(&globals.daemon_directory).join("smtpd");
            become_program(&smtpd, &["-S".into()], options, "")
        }
        Mode::Daemon => {
            let mut postfix = Command::new(in_commands("postfix"));
            postfix.args(verbosity(options)).arg("start");
            // Whatever comes of it, as in Postfix, where only a child has the rest of the errors.
            maillog::on_fatal(|| sys::process::exit_now(0));
            match postfix.status() {
                Ok(_) => std::process::exit(0),
                Err(error) => cannot_execute(&in_commands("postfix"), &error, ""),
            }
        }
        Mode::Ignore | Mode::Enqueue => std::process::exit(0),
    }
}

/// `-qR` and `-qI`: deliveries for one site, or of one message.
pub(crate) fn flush_some(config: &Config, options: &Options) {
    let postqueue = Path::new(&config.globals().command_directory).join("postqueue");
    if let Some(site) = &options.site {
        become_program(&postqueue, &["-s".into(), site.clone()], options, "");
    }
    if let Some(id) = &options.queue_id {
        become_program(&postqueue, &["-i".into(), id.clone()], options, "");
    }
}

fn new_aliases(config: &Config, options: &Options) -> ! {
    let databases: Vec<OsString> = match &options.alias_file {
        Some(file) => vec![file.clone()],
        None => list::words_with_groups(config.globals().alias_database.as_bytes())
            .map(|word| std::os::unix::ffi::OsStringExt::from_vec(word.to_vec()))
            .collect(),
    };
    if databases.is_empty() {
        std::process::exit(0);
    }
    let postalias = Path::new(&config.globals().command_directory).join("postalias");
    let names: Vec<_> = databases.iter().map(|name| name.to_string_lossy()).collect();
    let hint = format!(": cannot build the alias database {}", names.join(", "));
    let arguments: Vec<OsString> = std::iter::once("--".into()).chain(databases).collect();
    become_program(&postalias, &arguments, options, &hint)
}

fn verbosity(options: &Options) -> Vec<OsString> {
    vec!["-v".into(); options.verbose]
}

fn become_program(path: &Path, arguments: &[OsString], options: &Options, hint: &str) -> ! {
    let mut command = Command::new(path);
    command.args(verbosity(options)).args(arguments);
    if let Some(name) = path.file_name() {
        command.arg0(name);
    }
    cannot_execute(path, &command.exec(), hint)
}

fn cannot_execute(path: &Path, error: &std::io::Error, hint: &str) -> ! {
    fatal(format_args!("execv {}: {}{hint}", path.display(), sys::error_text(error)))
}
