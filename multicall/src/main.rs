//! The daemons and commands in one executable: which of them a process is, its file's name says.
//!
//! Each program has a name of its own in the file system, and they are links to one file. What they share, which is most of
//! each, is on disk and in memory once. master, postdrop and postqueue are files of their own: the first is small and stays
//! as long as the system, the others run with a group's rights, and nothing is in them that they do not need.

#![forbid(unsafe_code)]

mod name;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

/// A program: the name of its file, and what it does.
type Program = (&'static str, fn());

const PROGRAMS: &[Program] = &[
    ("smtpd", || server::single::<smtpd::service::Smtpd>("smtpd")),
    ("cleanup", || cleanup::main()),
    ("trivial-rewrite", || server::multi::<trivial_rewrite::service::TrivialRewrite>("trivial-rewrite")),
    ("anvil", || server::multi::<anvil::Anvil>("anvil")),
    ("showq", || server::single::<showq::Showq>("showq")),
    ("metrics", || server::single::<metrics_service::Metrics>("metrics")),
    ("postlogd", || server::datagram::<postlogd::Postlogd>("postlogd")),
    ("pickup", || server::trigger::<pickup::service::Pickup>("pickup")),
    ("proxymap", || server::multi::<proxymap::Proxymap>("proxymap")),
    ("tlsmgr", || server::multi::<tlsmgr::Tlsmgr>("tlsmgr")),
    ("verify", || server::multi::<verify::Verify>("verify")),
    ("qmgr", || server::trigger::<qmgr::QueueManager>("qmgr")),
    ("flush", || server::single::<flush::Flush>("flush")),
    ("bounce", || bounce::main()),
    ("nbdb_reindexd", || nbdb_reindexd::main()),
    ("scache", || server::multi::<scache::Scache>("scache")),
    ("spawn", || spawn::main()),
    ("error", || error_agent::main()),
    ("discard", || discard::main()),
    ("pipe", || pipe_agent::main()),
    ("local", || local::main()),
    ("virtual", || virtual_agent::main()),
    ("smtp", || smtp_agent::deliver()),
    ("lmtp", || smtp_agent::deliver()),
    ("postfix", || postfix::main()),
    ("postmap", postmap::run),
    ("postalias", postalias::run),
    ("postconf", || postconf::run()),
    ("postcat", postcat::run),
    ("postsuper", postsuper::run),
    ("postlog", postlog::run),
    ("postkick", || postkick::main()),
    ("posttls-finger", || smtp_agent::finger()),
    ("postwhy", || postwhy::main()),
    ("posttop", || posttop::main()),
    ("postern-health", || postern_health::main()),
    ("sendmail", sendmail::run),
    ("mailq", sendmail::run),
    ("newaliases", sendmail::run),
];

fn main() -> ExitCode {
    let started = sys::process::executed_path();
    let called = std::env::args_os().next();
    let paths = [started.as_deref(), called.as_deref()];
    let Some((_, run)) =
        paths.into_iter().flatten().find_map(|path| name::program(Path::new(path), PROGRAMS))
    else {
        let called = called.unwrap_or_default();
        let names: Vec<_> = PROGRAMS.iter().map(|(name, _)| *name).collect();
        eprintln!(
            "{}: fatal: no program of this name; the file is to be called one of: {}",
            String::from_utf8_lossy(OsStr::as_bytes(&called)),
            names.join(" ")
        );
        return ExitCode::FAILURE;
    };
    run();
    ExitCode::SUCCESS
}
