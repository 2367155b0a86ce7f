//! Making a table from its source, adding to it, and deleting from it (spec tables 4.4, 4.5).

use std::fs::{File, Metadata, OpenOptions};
use std::io::{BufRead, BufReader, IsTerminal};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use config::logical_lines::LogicalLines;
use config::{Config, printable};
use lookup::build::{Content, Sizes, Writer};
use lookup::changes::{self, Changes as _, Missing};
use lookup::{Flags, OpenError, ProxiedChanges, debug};

use crate::{Options, reference};

/// After so many entries a person at a terminal is told how far the command is.
const PROGRESS: usize = 100_000;

/// The version 3.N from which there is another text for types that cannot be made, and that for cdb tables that
/// cannot be changed.
const NEW_TEXTS: u32 = 10;
const NO_CHANGE_TEXT: u32 = 11;
/// That from which tables that entries are added to are opened as others are.
const LIKE_ANY_TABLE: u32 = 11;

/// What the index file takes from the source.
#[derive(Debug, Clone, Copy)]
pub struct Rights {
    /// `-o`: write as root even when the source belongs to somebody else.
    pub(crate) keep_root: bool,
    /// No `-p`: the index is readable for those for whom the source is.
    pub(crate) source_mode: bool,
}

impl Default for Rights {
    fn default() -> Self {
        Rights { keep_root: false, source_mode: true }
    }
}

/// A line of a source.
#[derive(Debug)]
pub struct Line<'a> {
    /// Its text.
    pub text: &'a [u8],
    /// File and line for warnings.
    pub place: String,
    /// `-F`: the value names files.
    pub(crate) file_values: bool,
}

/// Takes a line apart; `None` after a warning.
pub(crate) type Parse<'a> = &'a dyn Fn(&Line<'_>) -> Option<(Vec<u8>, Vec<u8>)>;

/// Adds what a table has besides the entries of its source.
pub(crate) type Last<'a> = &'a mut dyn FnMut(&mut Writer) -> Result<(), OpenError>;

fn or_fatal<T>(result: Result<T, OpenError>) -> T {
    result.unwrap_or_else(|error| maillog::fatal(error))
}

fn sizes(config: &Config) -> Sizes {
    Sizes { lmdb_map_size: u64::try_from(config.globals().lmdb_map_size).unwrap_or(0) }
}

/// Makes the table, or adds to it what stdin has; ends the command when that is not possible. `last` adds what a
/// table has besides the entries of the source.
pub fn create(config: &Config, table: &[u8], options: &Options, parse: Parse<'_>, last: Option<Last<'_>>) {
    let (kind, name) = reference(config, table);
    let whole = [kind, b":", name].concat();
    let given = name.len();
    // Whoever makes a table reads a source, and `debug:` has none.
    let (inner, watchers) = if options.add { debug::watched_by(&whole) } else { (&whole[..], Vec::new()) };
    let (kind, name) = if watchers.is_empty() { (kind, name) } else { type_and_name(inner) };
    if kind == b"proxy" && !(options.add && config.globals().postfix_minor < NEW_TEXTS) {
        maillog::fatal("can't create maps via the proxy service");
    }
    if kind == b"proxy" {
        maillog::fatal("unsupported dictionary type: proxy does not support bulk-mode creation.");
    }
    let saved_mask = sys::process::umask(0o022);
    sys::process::umask(saved_mask);
    let shown = printable(name);
    let (source, source_name, content): (Box<dyn BufRead>, _, _) = if options.add {
        (Box::new(BufReader::new(std::io::stdin())), "stdin".to_owned(), Content::Kept)
    } else {
        let failed = |error: std::io::Error| -> ! {
            maillog::fatal(format_args!("open {shown}: {}", sys::error_text(&error)))
        };
        let file = File::open(std::ffi::OsStr::new(&*path(name))).unwrap_or_else(|error| failed(error));
        let metadata = file.metadata().unwrap_or_else(|error| failed(error));
        // The types that cannot be made are told of first.
        if metadata.is_dir() && lookup::build::can_make(kind) {
            failed(std::io::Error::from_raw_os_error(21));
        }
        take_rights(&metadata, options.rights, saved_mask);
        (Box::new(BufReader::with_capacity(1 << 16, file)), shown.clone(), Content::New)
    };
    if config.globals().postfix_minor >= LIKE_ANY_TABLE && !options.rights.keep_root {
        warn_of_directory(&whole[whole.len() - given..], &source_name);
    }
    let redirected = or_fatal(lookup::migration::to_make(kind, name));
    let kind = redirected.as_ref().map_or(kind, |made| kind_of(made));
    if kind == b"fail" {
        let fail =
            || -> ! { maillog::fatal(format_args!("table fail:{shown}: write error: Application error")) };
        each_entry(source, &source_name, options, parse, &mut |_, _| fail());
        if last.is_some() {
            fail();
        }
        regain_root();
        sys::process::umask(saved_mask);
        return;
    }
    if options.add && (redirected.is_none() || !watchers.is_empty()) {
        refuse_additions(config, kind, name, &watchers);
    }
    if config.globals().postfix_minor >= NEW_TEXTS && is_known(kind) {
        if !lookup::build::can_make(kind) {
            let what = if redirected.is_some() { "non_bdb mapped" } else { "this" };
            let kind = printable(kind);
            maillog::fatal(format_args!("no 'map create' support for {what} type: {kind}"));
        }
        refuse_change(config, kind, content);
    }
    // What is there is opened first, to be locked.
    if matches!(kind, b"hash" | b"btree")
        && let Some(index) = lookup::build::index_path(kind, name)
        && let Err(error) = OpenOptions::new().read(true).write(true).open(&index)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        maillog::fatal(format_args!("open {}: {}", index.display(), sys::error_text(&error)));
    }
    log::debug!("open {} {shown}", printable(kind));
    let mut writer = or_fatal(Writer::open(kind, name, options.flags, content, sizes(config)));
    writer.watch(watchers);
    fill(&mut writer, source, &source_name, options, parse);
    if let Some(last) = last {
        or_fatal(last(&mut writer));
    }
    or_fatal(writer.commit());
    regain_root();
    sys::process::umask(saved_mask);
}

/// From 3.11 on root is told that a file which it makes is in the hands of somebody else.
fn warn_of_directory(name: &[u8], source: &str) {
    if !sys::user::euid().is_root() {
        return;
    }
    let path = path(name);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let shown = directory.display();
    match std::fs::metadata(directory) {
        Err(error) => maillog::fatal(format_args!("stat {shown}: {}", sys::error_text(&error))),
        Ok(directory) if directory.uid() != 0 => {
            let name = printable(name);
            log::warn!(
                "Creating root-owned database file(s) {name}.* in non-root-owned directory {shown}. Files {source}, \
                 {name}.*, and directory {shown} should have the same owner. Please fix ownership to avoid a \
                 privilege-escalation attack."
            );
        }
        Ok(_) => {}
    }
}

/// Both halves of `type:name`, where a text must be that.
fn type_and_name(reference: &[u8]) -> (&[u8], &[u8]) {
    match reference.iter().position(|byte| *byte == b':') {
        Some(at) if at > 0 && at + 1 < reference.len() => (&reference[..at], &reference[at + 1..]),
        _ => maillog::fatal(format_args!(
            "open dictionary: expecting \"type:name\" form instead of \"{}\"",
            printable(reference)
        )),
    }
}

/// From 3.11 on a table that entries are added to is opened as any other, and says itself why it cannot be changed.
fn refuse_additions(config: &Config, kind: &[u8], name: &[u8], watchers: &[String]) {
    if config.globals().postfix_minor < LIKE_ANY_TABLE || lookup::build::can_make(kind) {
        return;
    }
    let shown = printable(kind);
    if !is_known(kind) {
        log::warn!("unsupported dictionary type: {shown}. Is the postfix-{shown} package installed?");
        let what = if watchers.is_empty() { "map" } else { "dictionary" };
        maillog::fatal(format_args!("unsupported {what} type: {shown}"));
    }
    let table = format!("{shown}:{}", printable(name));
    if matches!(kind, b"static" | b"environ") {
        maillog::fatal(format_args!("table {table}: update operation is not supported"));
    }
    maillog::fatal(format_args!("{table} map requires O_RDONLY access mode"));
}

/// The type in `type:name`.
fn kind_of(table: &[u8]) -> &[u8] {
    table.split(|byte| *byte == b':').next().unwrap_or_default()
}

fn is_known(kind: &[u8]) -> bool {
    lookup::TYPES.iter().any(|known| known.as_bytes() == kind)
}

/// cdb files cannot be changed; 3.11 has words of its own for it.
fn refuse_change(config: &Config, kind: &[u8], content: Content) {
    if kind == b"cdb" && content == Content::Kept && config.globals().postfix_minor >= NO_CHANGE_TEXT {
        maillog::fatal("unsupported non-bulk change request");
    }
}

fn path(name: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(name).into()
}

fn fill(writer: &mut Writer, source: Box<dyn BufRead>, name: &str, options: &Options, parse: Parse<'_>) {
    each_entry(source, name, options, parse, &mut |key, value| or_fatal(writer.put(key, value)));
}

/// Calls `take` with each key and value of the source.
fn each_entry(
    source: Box<dyn BufRead>,
    name: &str,
    options: &Options,
    parse: Parse<'_>,
    take: &mut dyn FnMut(&[u8], &[u8]),
) {
    let utf8 = options.flags.has(Flags::UTF8);
    let watched = std::io::stderr().is_terminal();
    for (count, line) in LogicalLines::new(source, name).enumerate() {
        let line = match line {
            Ok(line) => line,
            Err(error) => maillog::fatal(format_args!("read {name}: {}", sys::error_text(&error))),
        };
        if watched && count > 0 && count % PROGRESS == 0 {
            eprint!("\r{name}: {count} lines");
        }
        let place = format!("{name}, line {}", line.first);
        if utf8 && std::str::from_utf8(&line.text).is_err() {
            log::warn!("{place}: non-UTF-8 input \"{}\" -- ignoring this line", printable(&line.text));
            continue;
        }
        let file_values = options.flags.has(Flags::FILE_VALUES);
        if let Some((key, value)) = parse(&Line { text: &line.text, place, file_values }) {
            take(&key, &value);
        }
        if watched && count > PROGRESS && count % PROGRESS == PROGRESS - 1 {
            eprint!("\r");
        }
    }
}

/// What the index may show of the source, and to whom it belongs.
fn take_rights(source: &Metadata, rights: Rights, mask: u32) {
    if rights.source_mode {
        sys::process::umask(mask | (!source.mode() & 0o066));
    } else {
        sys::process::umask(mask);
    }
    let effective_root = sys::user::euid().is_root();
    if effective_root && !rights.keep_root && source.uid() != 0 {
        let changed = sys::user::set_groups(&[sys::Gid::from_raw(source.gid())])
            .and_then(|()| sys::user::set_egid(sys::Gid::from_raw(source.gid())))
            .and_then(|()| sys::user::set_euid(sys::Uid::from_raw(source.uid())));
        if let Err(error) = changed {
            maillog::fatal(format_args!("set_eugid: {}", sys::error_text(&error)));
        }
    }
}

fn regain_root() {
    if sys::user::uid().is_root() && !sys::user::euid().is_root() {
        let regained = sys::user::set_euid(sys::Uid::from_raw(0))
            .and_then(|()| sys::user::set_egid(sys::Gid::from_raw(0)));
        if let Err(error) = regained {
            maillog::fatal(format_args!("set_eugid: {}", sys::error_text(&error)));
        }
    }
}

/// As root, deletes with the rights of the index file's owner.
fn take_index_rights(kind: &[u8], name: &[u8], rights: Rights) {
    let suffix: &[u8] = match kind {
        b"hash" | b"btree" => b".db",
        b"lmdb" => b".lmdb",
        _ => return,
    };
    if let Ok(index) = std::fs::metadata(path(&[name, suffix].concat())) {
        take_rights(&index, Rights { source_mode: false, ..rights }, 0o022);
    }
}

/// Deletes a key, or with `-` those on stdin, from all tables; the command's exit status.
pub fn delete(config: &Config, tables: &[Vec<u8>], options: &Options, key: &[u8]) -> i32 {
    let keys: Vec<Vec<u8>> = if key == b"-" {
        let lines = std::io::stdin().lock().split(b'\n').collect::<Result<_, _>>();
        lines.unwrap_or_else(|error| maillog::fatal(format_args!("read stdin: {}", sys::error_text(&error))))
    } else {
        vec![key.to_vec()]
    };
    let mut found = false;
    for table in tables {
        let (kind, name) = reference(config, table);
        let whole = [kind, b":", name].concat();
        let (inner, watchers) = debug::watched_by(&whole);
        let (kind, name) =
            if watchers.is_empty() || inner.is_empty() { (kind, name) } else { type_and_name(inner) };
        if kind == b"proxy" {
            found |= delete_by_proxy(name, options, &keys);
            continue;
        }
        if kind.is_empty() || name.is_empty() {
            let table = printable(&[kind, b":", name].concat());
            maillog::fatal(format_args!(
                "open dictionary: expecting \"type:name\" form instead of \"{table}\""
            ));
        }
        let redirected = or_fatal(lookup::migration::to_change(kind, name));
        let kind = redirected.as_ref().map_or(kind, |made| kind_of(made));
        if !is_known(kind) {
            let kind = printable(kind);
            if config.globals().postfix_minor >= NEW_TEXTS {
                log::warn!("unsupported dictionary type: {kind}. Is the postfix-{kind} package installed?");
            }
            maillog::fatal(format_args!("unsupported dictionary type: {kind}"));
        }
        if changes::are_served(kind) {
            found |= delete_on_server(&[kind, b":", name].concat(), config, options, &keys);
            continue;
        }
        if !lookup::build::can_delete(kind) {
            let table = printable(&[kind, b":", name].concat());
            match kind {
                b"static" | b"environ" => {
                    maillog::fatal(format_args!("table {table}: delete operation is not supported"))
                }
                b"fail" => {
                    if let Some(key) = keys.first() {
                        debug::tell(&watchers, &debug::deletion(key), debug::ERROR);
                    }
                    let table = printable(&whole);
                    maillog::fatal(format_args!("table {table}: delete error: Application error"))
                }
                _ => maillog::fatal(format_args!("{table} map requires O_RDONLY access mode")),
            }
        }
        refuse_change(config, kind, Content::Kept);
        take_index_rights(kind, name, options.rights);
        // A cdb file cannot be changed, whether there is one or not.
        if kind != b"cdb"
            && let Some(path) = lookup::build::index_path(kind, name)
            && let Err(error) = std::fs::metadata(&path)
        {
            // Its library makes the file of an lmdb table where there is none (observed, 3.7.11).
            if kind != b"lmdb" || File::create_new(&path).is_err() {
                maillog::fatal(format_args!("open database {}: {}", path.display(), sys::error_text(&error)));
            }
            or_fatal(
                Writer::open(kind, name, options.flags, Content::New, sizes(config)).and_then(Writer::commit),
            );
        }
        let mut writer = or_fatal(Writer::open(kind, name, options.flags, Content::Kept, sizes(config)));
        writer.watch(watchers);
        log::debug!("dict_open: {}", printable(&[kind, b":", name].concat()));
        let before = found;
        let mut here = false;
        for key in &keys {
            here |= writer.delete(key);
        }
        found = before || here;
        if here {
            or_fatal(writer.commit());
        }
        regain_root();
    }
    i32::from(!found)
}

/// Has a server, and the table behind it, delete keys; whether one was there.
fn delete_on_server(table: &[u8], config: &Config, options: &Options, keys: &[Vec<u8>]) -> bool {
    let flags = options.flags.without(Flags::WARN_DUPLICATES);
    let changes = or_fatal(changes::open(table, flags, sizes(config), Missing::Told));
    let mut found = false;
    for key in keys {
        match changes.delete(key) {
            Ok(was_there) => found |= was_there,
            Err(_) => {
                let reason = changes.reason().unwrap_or_else(|| "Application error".to_owned());
                maillog::fatal(format_args!("table {}: delete error: {reason}", printable(table)))
            }
        }
    }
    found
}

/// Has the proxywrite service delete keys from a table; whether one was there.
fn delete_by_proxy(table: &[u8], options: &Options, keys: &[Vec<u8>]) -> bool {
    let changes = or_fatal(ProxiedChanges::open(table, options.flags.without(Flags::WARN_DUPLICATES)));
    let mut found = false;
    for key in keys {
        match changes.delete(key) {
            Ok(was_there) => found |= was_there,
            Err(_) => {
                let table = printable(table);
                maillog::fatal(format_args!("table proxy:{table}: delete error: Application error"))
            }
        }
    }
    found
}
