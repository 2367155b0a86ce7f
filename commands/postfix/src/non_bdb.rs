//! `postfix non-bdb`: how far tables of Berkeley DB's types are replaced by others (spec later-versions 4).
//!
//! It has postconf edit main.cf (`non_bdb_migration_level`) and master.cf (the service that makes index files). Refused,
//! with nothing changed: default types that are Berkeley DB's own; a `non_bdb_custom_mapping` that would end every
//! program; and a table of which no index file can be made, where only ordinary users' commands open it, as those cannot
//! ask the service. Observed with Debian's 3.11.7.

use config::list::text_words;
use lookup::migration::Planned;

use crate::invocation::Invocation;

/// The first version that has the command.
pub(crate) const SINCE: u32 = 11;

const USAGE: &str = "usage: postfix non-bdb status (or enable-redirect, or enable-reindex, or disable)";
const LEVEL: &str = "non_bdb_migration_level";
/// What `hash:` and `btree:` become.
const DEFAULT_TYPES: [&str; 2] = ["default_database_type", "default_cache_db_type"];
/// Tables of the commands that ordinary users call.
const OF_COMMANDS: [&str; 4] = [
    "authorized_flush_users",
    "authorized_mailq_users",
    "authorized_submit_users",
    "local_login_sender_maps",
];

/// Carries out the command; the exit status.
pub(crate) fn run(invocation: &Invocation) -> i32 {
    let words: Vec<_> = invocation.arguments.iter().map(|word| word.to_string_lossy()).collect();
    match words.iter().map(AsRef::as_ref).collect::<Vec<&str>>()[..] {
        ["status"] => {
            println!("{}", text(invocation, LEVEL));
            0
        }
        ["disable"] => without_service(invocation, &["-X", LEVEL]),
        ["enable-redirect"] => {
            planned(invocation);
            without_service(invocation, &["-e", &format!("{LEVEL} = enable-redirect")])
        }
        ["enable-reindex"] => {
            make_indexes(invocation, &planned(invocation));
            with_service(invocation)
        }
        _ => invocation.report.fatal(USAGE),
    }
}

fn text(invocation: &Invocation, name: &str) -> String {
    invocation.config.text(name).unwrap_or_else(|error| invocation.report.fatal(&error.to_string()))
}

/// What tables will be; ends the command where programs could not open them then.
fn planned(invocation: &Invocation) -> Planned {
    for name in DEFAULT_TYPES {
        let kind = text(invocation, name);
        if matches!(kind.as_str(), "hash" | "btree") {
            invocation.report.fatal(&format!("parameter {name} specifies a Berkeley DB type: '{kind}'"));
        }
    }
    // Postfix sets the level, and from then on no program starts, this command included.
    Planned::read(&invocation.config).unwrap_or_else(|error| invocation.report.fatal(&error.to_string()))
}

/// Makes the index files of tables that commands open. Postfix makes those of the level in force, and so once more files of
/// Berkeley DB's where it is `disable`.
fn make_indexes(invocation: &Invocation, planned: &Planned) {
    for value in OF_COMMANDS.map(|name| text(invocation, name)) {
        for reference in text_words(&value) {
            let target = match planned.target(reference.as_bytes()) {
                Ok(Some(target)) => config::printable(&target),
                Ok(None) => continue,
                Err(error) => invocation.report.fatal(&format!("{reference}: {error}")),
            };
            invocation.report.info(&format!("Proactively reindexing {reference}"));
            if !invocation.succeeds("postmap", &[&target]) {
                invocation
                    .report
                    .fatal(&format!("no index file for {reference}; main.cf and master.cf are as they were"));
            }
        }
    }
}

/// The service is there before anybody asks it.
fn with_service(invocation: &Invocation) -> i32 {
    let name = &invocation.globals().non_bdb_migration.service;
    let entry = format!("{name}/unix={name} unix y n n - 1 nbdb_reindexd");
    edit(invocation, &[&["-M", "-e", &entry], &["-e", &format!("{LEVEL} = enable-reindex")]])
}

/// And as long as anybody may ask it.
fn without_service(invocation: &Invocation, level: &[&str]) -> i32 {
    let entry = format!("{}/unix", invocation.globals().non_bdb_migration.service);
    edit(invocation, &[level, &["-M", "-X", &entry]])
}

/// One after the other, until one fails.
fn edit(invocation: &Invocation, edits: &[&[&str]]) -> i32 {
    let status = edits.iter().map(|words| {
        let mut process = invocation.program(&invocation.globals().command_directory, "postconf");
        process.arg("-c").arg(invocation.config.directory().path()).args(*words);
        invocation.finish(&mut process)
    });
    status.into_iter().find(|status| *status != 0).unwrap_or(0)
}
