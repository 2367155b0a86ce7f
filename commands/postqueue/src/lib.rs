//! The postqueue command: lists and flushes the queue, for every user (spec commands 7).
//!
//! | mode | asks | module |
//! |---|---|---|
//! | `-p`, `-j` | showq, or runs it when the mail system is down and the caller is root | [`listing`] |
//! | `-f` | qmgr and pickup, by triggers | [`flush`] |
//! | `-i ID`, `-s SITE` | the flush service | [`flush`] |
//!
//! It may be installed set-gid, so it goes by its fixed name, takes nothing over from the environment but what
//! `import_environment` lists, and is verbose for root only. Whatever goes wrong, it ends with status 69, at once.

#![forbid(unsafe_code)]

pub mod flush;
mod json;
pub mod listing;
mod printer;
mod text;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use command::{Command, Environment, Log, Opt};
use config::Config;
use listing::Format;
use lookup::Opening;
use lookup::list::StringList;

const USAGE: &str =
    "usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site";
/// EX_UNAVAILABLE, the status of every failure.
const FAILED: i32 = 69;

enum Mode {
    List(Format),
    Flush,
    FlushFile(String),
    FlushSite(String),
}

/// The command, from its arguments to its exit.
pub fn run() {
    let command = Command::start_as("postqueue", Log::StderrAndLog);
    maillog::on_fatal(|| sys::process::exit_now(FAILED));
    let is_root = sys::user::euid().is_root();
    let mut directory: Option<PathBuf> = None;
    let mut modes = Vec::new();
    let mut getopt = command.options("c:fi:jps:v");
    for option in getopt.by_ref() {
        match option {
            Opt::With('c', value) => directory = Some(value.into()),
            Opt::Flag('f') => modes.push(Mode::Flush),
            Opt::With('i', value) => modes.push(Mode::FlushFile(text_of(value.to_owned()))),
            Opt::Flag('j') => modes.push(Mode::List(Format::Json)),
            Opt::Flag('p') => modes.push(Mode::List(Format::Text)),
            Opt::With('s', value) => modes.push(Mode::FlushSite(text_of(value.to_owned()))),
            Opt::Flag('v') if is_root => command.raise_verbosity(),
            Opt::Flag('v') => {}
            _ => maillog::fatal(USAGE),
        }
        if modes.len() > 1 {
            maillog::fatal(USAGE);
        }
    }
    if !getopt.operands().is_empty() {
        maillog::fatal(USAGE);
    }
    let config = command.configure("postqueue", directory, Environment::Replace);
    let queue_directory = &config.globals().queue_directory;
    if let Err(error) = std::env::set_current_dir(queue_directory) {
        maillog::fatal(format_args!("chdir {queue_directory}: {}", sys::error_text(&error)));
    }
    // Nothing asked for is told behind what is wrong with main.cf.
    let Some(mode) = modes.pop() else { maillog::fatal(USAGE) };
    match mode {
        Mode::List(format) => {
            authorize(&config, "authorized_mailq_users", "view");
            listing::show(&config, format);
        }
        Mode::Flush => {
            authorize(&config, "authorized_flush_users", "flush");
            flush::everything(&config);
        }
        Mode::FlushFile(id) => {
            authorize(&config, "authorized_flush_users", "flush");
            flush::file(&config, &id);
        }
        Mode::FlushSite(site) => {
            authorize(&config, "authorized_flush_users", "flush");
            flush::site(&config, &site);
        }
    }
}

fn text_of(value: OsString) -> String {
    // What is no text names no message and no site: it is refused in the form in which it is told.
    value.into_string().unwrap_or_else(|value| maillog::shown(value.as_bytes()).to_string())
}

/// Ends the command unless the caller may do this. Root and the mail owner always may.
fn authorize(config: &Config, parameter: &str, action: &str) {
    let uid = sys::user::uid();
    if uid.is_root() || uid == config.globals().accounts.mail_owner.uid {
        return;
    }
    let name = match sys::user::User::by_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => "unknown".to_owned(),
    };
    let list = config.bytes(parameter).map_err(|error| error.to_string()).and_then(|value| {
        StringList::open(parameter, &value, Opening::FatalErrors).map_err(|error| error.to_string())
    });
    let is_member = list.and_then(|list| list.matches(name.as_bytes()).map_err(|error| error.to_string()));
    match is_member {
        Ok(true) => {}
        Ok(false) => {
            maillog::fatal(format_args!("User {name}({uid}) is not allowed to {action} the mail queue"))
        }
        Err(error) => maillog::fatal(error),
    }
}
