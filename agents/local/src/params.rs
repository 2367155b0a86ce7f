//! The parameters of the agent.

use std::collections::HashSet;
use std::time::Duration;

use config::{Config, list};
use lookup::{Delimiter, Flags, Maps, OpenError, Opening, Owner, Table};
use server::{Fatal, Start};

/// The kinds of lists that destinations are found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ListKind {
    Alias,
    Forward,
    Include,
}

/// What a `Delivered-To:` header is put in front of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Copied {
    Command,
    File,
    Forward,
}

/// Parameters, typed.
#[derive(Debug)]
pub(crate) struct Params {
    pub(crate) service: String,
    pub(crate) delimiter: Delimiter,
    pub(crate) commands_in: HashSet<ListKind>,
    pub(crate) files_in: HashSet<ListKind>,
    pub(crate) extension_of: HashSet<ListKind>,
    pub(crate) delivered_to: HashSet<Copied>,
    pub(crate) mailbox_command: Vec<u8>,
    pub(crate) mailbox_transport: String,
    pub(crate) fallback_transport: String,
    pub(crate) luser_relay: Vec<u8>,
    pub(crate) home_mailbox: String,
    pub(crate) mail_spool_directory: String,
    pub(crate) forward_path: Vec<u8>,
    pub(crate) forward_filter: Vec<u8>,
    pub(crate) command_shell: String,
    pub(crate) command_directory: Vec<u8>,
    pub(crate) command_filter: Vec<u8>,
    pub(crate) command_time_limit: Duration,
    pub(crate) directory_filter: Vec<u8>,
    /// Commands are told ENVID, since 3.9.
    pub(crate) tells_envelope_id: bool,
    /// Too many aliases within aliases are told as that, no longer as a loop.
    pub(crate) tells_nesting: bool,
    pub(crate) biff: bool,
    pub(crate) duplicate_limit: usize,
    pub(crate) line_length_limit: usize,
    pub(crate) owner_special: bool,
    pub(crate) expand_owner: bool,
    pub(crate) reset_owner: bool,
    pub(crate) frozen_delivered_to: bool,
    pub(crate) require_home: bool,
    pub(crate) strict_ownership: bool,
    pub(crate) original_recipient: bool,
}

/// The tables of the agent.
#[derive(Debug)]
pub(crate) struct Tables {
    /// And whose each is, found out while root's files can be looked at.
    pub(crate) aliases: Vec<(Box<dyn Table>, Owner)>,
    pub(crate) mailbox_commands: UserMaps,
    pub(crate) mailbox_transports: UserMaps,
    pub(crate) fallback_transports: UserMaps,
}

/// Tables of users, or why there are none: that ends the process when they are needed, and not before. Mail for aliases
/// alone, say, does without (observed, 3.7.11).
#[derive(Debug)]
pub(crate) struct UserMaps(Result<Maps, OpenError>);

impl UserMaps {
    pub(crate) fn get(&self) -> &Maps {
        self.0.as_ref().unwrap_or_else(|error| maillog::fatal(format_args!("{error}")))
    }
}

impl Params {
    pub(crate) fn read(start: &Start) -> Result<Self, Fatal> {
        let config = &start.config;
        let globals = config.globals();
        let count = |value: i32| usize::try_from(value).unwrap_or(0);
        Ok(Self {
            service: start.service_name.clone(),
            delimiter: Delimiter::new(globals),
            commands_in: lists(config, "allow_mail_to_commands")?,
            files_in: lists(config, "allow_mail_to_files")?,
            extension_of: extensions(config)?,
            delivered_to: delivered_to(config)?,
            mailbox_command: config.raw("mailbox_command")?.into_bytes(),
            mailbox_transport: config.text("mailbox_transport")?,
            fallback_transport: config.text("fallback_transport")?,
            luser_relay: config.raw("luser_relay")?.into_bytes(),
            home_mailbox: config.text("home_mailbox")?,
            mail_spool_directory: config.text("mail_spool_directory")?,
            forward_path: config.raw("forward_path")?.into_bytes(),
            forward_filter: config.bytes("forward_expansion_filter")?,
            command_shell: config.text("local_command_shell")?,
            command_directory: config.raw("command_execution_directory")?.into_bytes(),
            command_filter: config.bytes("command_expansion_filter")?,
            command_time_limit: config.time("command_time_limit")?,
            directory_filter: config.bytes("execution_directory_expansion_filter")?,
            tells_envelope_id: globals.postfix_minor >= 9,
            tells_nesting: globals.postfix_minor >= 11,
            biff: config.boolean("biff")?,
            duplicate_limit: count(config.integer("duplicate_filter_limit")?),
            line_length_limit: count(globals.line_length_limit),
            owner_special: globals.owner_request_special,
            expand_owner: config.boolean("expand_owner_alias")?,
            reset_owner: config.boolean("reset_owner_alias")?,
            frozen_delivered_to: config.boolean("frozen_delivered_to")?,
            require_home: config.boolean("require_home_directory")?,
            strict_ownership: config.boolean("strict_mailbox_ownership")?,
            original_recipient: globals.enable_original_recipient,
        })
    }
}

impl Tables {
    pub(crate) fn open(config: &Config) -> Result<Self, Fatal> {
        let opening = if config.globals().daemon_table_open_error_is_fatal {
            Opening::FatalErrors
        } else {
            Opening::Survive
        };
        let fatal = |error: lookup::OpenError| Fatal::new(error.to_string());
        let maps = |name: &str| {
            let flags = Flags::LOCK.with(Flags::FOLD_FIX).with(Flags::UTF8);
            match Maps::open(name, &config.bytes(name)?, flags, opening) {
                Err(error) if lookup::only_examines() => Err(fatal(error)),
                opened => Ok(UserMaps(opened)),
            }
        };
        // Nobody but the owner of a table may say as whom commands run: no proxy, no network, no substitution.
        let paranoid = Flags::NO_REGSUB.with(Flags::NO_PROXY).with(Flags::NO_UNAUTH);
        let flags = Flags::LOCK.with(Flags::FOLD_FIX).with(Flags::UTF8).with(paranoid);
        let aliases = config.bytes("alias_maps")?;
        Ok(Self {
            aliases: list::words_with_groups(&aliases)
                .map(|reference| {
                    let open = || lookup::open(reference, flags, opening);
                    Ok((lookup::titled("alias_maps", open).map_err(fatal)?, Owner::of(reference)))
                })
                .collect::<Result<_, Fatal>>()?,
            mailbox_commands: maps("mailbox_command_maps")?,
            mailbox_transports: maps("mailbox_transport_maps")?,
            fallback_transports: maps("fallback_transport_maps")?,
        })
    }

    /// The name of a table that has changed since it was opened.
    pub(crate) fn changed(&self) -> Option<&str> {
        let alias = self
            .aliases
            .iter()
            .map(|(table, _)| table)
            .find(|table| table.has_changed())
            .map(|table| table.registered_name());
        let maps = [&self.mailbox_commands, &self.mailbox_transports, &self.fallback_transports];
        alias.or_else(|| maps.into_iter().find_map(|maps| maps.0.as_ref().ok()?.changed()))
    }
}

/// The size that no mailbox may have; 0 is none.
pub(crate) fn mailbox_size_limit(config: &Config) -> Result<u64, Fatal> {
    let mailbox_size_limit = u64::try_from(config.long("mailbox_size_limit")?).unwrap_or(0);
    let message_size_limit = u64::try_from(config.long("message_size_limit")?).unwrap_or(0);
    if mailbox_size_limit > 0 && message_size_limit == 0 {
        let text = "configuration error: mailbox_size_limit is limited but message_size_limit is unlimited";
        return Err(Fatal::if_used(config.wrong("mailbox_size_limit", text).to_string()));
    }
    if mailbox_size_limit > 0 && mailbox_size_limit < message_size_limit {
        let text = "configuration error: mailbox_size_limit is smaller than message_size_limit";
        return Err(Fatal::if_used(config.wrong("mailbox_size_limit", text).to_string()));
    }
    Ok(mailbox_size_limit)
}

fn lists(config: &Config, name: &str) -> Result<HashSet<ListKind>, Fatal> {
    let kind = |word: &str| match word {
        "alias" => Some(ListKind::Alias),
        "forward" => Some(ListKind::Forward),
        "include" => Some(ListKind::Include),
        _ => None,
    };
    Ok(config.known_words(name, name, kind)?.into_iter().collect())
}

fn extensions(config: &Config) -> Result<HashSet<ListKind>, Fatal> {
    let name = "propagate_unmatched_extensions";
    let kind = |word: &str| match word {
        "alias" => Some(Some(ListKind::Alias)),
        "forward" => Some(Some(ListKind::Forward)),
        "include" => Some(Some(ListKind::Include)),
        "canonical" | "virtual" | "generic" => Some(None),
        _ => None,
    };
    Ok(config.known_words(name, name, kind)?.into_iter().flatten().collect())
}

fn delivered_to(config: &Config) -> Result<HashSet<Copied>, Fatal> {
    let name = "prepend_delivered_header";
    let kind = |word: &str| match word {
        "command" => Some(Copied::Command),
        "file" => Some(Copied::File),
        "forward" => Some(Copied::Forward),
        _ => None,
    };
    Ok(config.known_words(name, name, kind)?.into_iter().collect())
}
