//! What the next processes would find wrong with main.cf and master.cf (`check`, `start`, `reload`).
//!
//! Four sources, and no parser of its own: postconf knows which names mean something, [`master::preflight`] is
//! master's own reading, postalias knows the form of alias files, and each daemon of Postern's in master.cf is asked by
//! running it ([`config::preflight`]); a program without the marker in its file, such as Postfix's own, is never run. Running the daemon, and not calling its
//! code from here, judges the very file that will serve, also where daemons were exchanged.
//!
//! What Postfix would survive is told and no more: a `reload` is refused where master would end or lose all services,
//! or where no process of a service would start; a `start` where master would not start.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use config::list::words_with_groups;
use config::{Config, MigrationLevel, preflight};
use maillog::Severity;
use master::preflight::{Complaint, Effect, Program, examine};
use sys::error_text;

use crate::complaint::{self, Level, Line, Mistake};
use crate::form;
use crate::invocation::{COMMANDS_WITH_MASTER_CF, Invocation, Unusable};
use crate::settings::Settings;

/// How long a daemon may think: tables may lie on slow machines.
const PATIENCE: Duration = Duration::from_secs(20);
/// Table types that are made of sources.
const INDEXED: [&str; 4] = ["hash", "btree", "cdb", "lmdb"];
/// Mistakes that are told of an alias file; who has more has seen enough.
const ALIAS_LIMIT: usize = 20;
/// What is read of an answer.
const ANSWER_LIMIT: u64 = 1 << 20;

/// All that is wrong.
#[derive(Debug, Default)]
pub struct Verdict {
    complaints: Vec<Complaint>,
}

impl Verdict {
    /// Looks at the configuration of this instance.
    pub fn of(invocation: &Invocation) -> Self {
        // What this command has said already of main.cf it need not say again.
        let findings = maillog::silently(|| examine(invocation.config.directory()));
        let mut verdict = Self { complaints: findings.complaints };
        verdict.ask_postconf(invocation);
        verdict.ask_programs(invocation, &findings.programs);
        verdict.look_for_reindexing(&invocation.config, &findings.programs);
        verdict.read_alias_files(&invocation.config);
        let mut verdict = verdict.without_repetitions();
        form::examine(&mut verdict.complaints, &invocation.config, &findings.programs);
        verdict
    }

    /// The worst that would happen.
    pub fn effect(&self) -> Effect {
        self.complaints.iter().map(|complaint| complaint.effect).max().unwrap_or(Effect::None)
    }

    /// Tells all, a line each.
    pub fn tell(&self, invocation: &Invocation) {
        for complaint in &self.complaints {
            // Told when this command read the file itself.
            if is_about_reading(&complaint.text) {
                continue;
            }
            match Level::of(complaint.effect) {
                Level::Warning => invocation.report.warn(&complaint.text),
                Level::Fatal => invocation.report.failure(&complaint.text),
            }
        }
    }

    /// Tells all on standard output, a JSON object a line.
    pub(crate) fn tell_as_json(&self) {
        for complaint in &self.complaints {
            println!("{}", complaint::json(complaint));
        }
    }

    fn add(&mut self, effect: Effect, text: String, service: Option<&str>) {
        self.complaints.push(Complaint { effect, text, service: service.map(str::to_owned) });
    }

    /// Names that mean nothing.
    fn ask_postconf(&mut self, invocation: &Invocation) {
        let mut command = invocation.program(&invocation.globals().command_directory, "postconf");
        let Ok(answer) = command.arg("-n").stdin(Stdio::null()).output() else { return };
        let text = String::from_utf8_lossy(&answer.stderr).into_owned();
        for line in text.lines() {
            // What postconf cannot read, master cannot either, and says so itself.
            let Some((_, warning)) = line.split_once(": warning: ") else { continue };
            let is_told = |bare: &str| self.complaints.iter().any(|known| known.text.ends_with(bare));
            // In the words of both, but there without line.
            if warning.strip_prefix("master.cf").is_none_or(|bare| !is_told(bare)) {
                self.add(Effect::None, warning.to_owned(), None);
            }
        }
    }

    /// Index files are made by a service of Postfix's own.
    fn look_for_reindexing(&mut self, config: &Config, programs: &[Program]) {
        let migration = &config.globals().non_bdb_migration;
        let service = &migration.service;
        let is_it = |program: &Program| {
            program.service.split_once([' ', '/']).is_some_and(|(name, _)| name == service)
        };
        if migration.level == MigrationLevel::Reindex && !programs.iter().any(is_it) {
            let place = config.origin("non_bdb_migration_level");
            let place = place.map(|origin| format!(" ({origin})")).unwrap_or_default();
            let text = format!(
                "non_bdb_migration_level = enable-reindex: there is no service {service}, and no other makes index \
                 files that are missing; make them with postmap or postalias, and use enable-redirect{place}"
            );
            self.add(Effect::None, text, None);
        }
    }

    /// Lines of alias files that postalias leaves out: no daemon reads the files themselves.
    fn read_alias_files(&mut self, config: &Config) {
        let mut read: Vec<String> = Vec::new();
        for parameter in ["alias_maps", "alias_database"] {
            let value = maillog::silently(|| config.bytes(parameter)).unwrap_or_default();
            for table in words_with_groups(&value) {
                let table = String::from_utf8_lossy(table);
                let table = table.strip_prefix("proxy:").unwrap_or(&table);
                let Some((kind, file)) = table.split_once(':') else { continue };
                if INDEXED.contains(&kind) && !read.iter().any(|known| known == file) {
                    read.push(file.to_owned());
                    // The index file is enough where there is no other.
                    for mistake in postalias::mistakes(file, ALIAS_LIMIT).unwrap_or_default() {
                        self.add(Effect::None, mistake, None);
                    }
                }
            }
        }
    }

    fn ask_programs(&mut self, invocation: &Invocation, programs: &[Program]) {
        let master_cf = invocation.config.directory().master_cf();
        let mut ours: BTreeMap<&Path, bool> = BTreeMap::new();
        for program in programs {
            if !*ours.entry(&program.path).or_insert_with(|| is_ours(&program.path)) {
                continue;
            }
            let place = format!("{}, line {}", master_cf.display(), program.line);
            let settings = Settings::of(&invocation.config, program, &place);
            match ask(program) {
                Ok(answer) => {
                    for line in answer {
                        let has_place = is_about_reading(&line.text);
                        let text = if has_place { line.text } else { settings.with_place(&line.text) };
                        self.add(line.level.effect(), text, Some(&program.service));
                    }
                }
                Err(why) => {
                    let text = format!("{}: {why} ({place})", program.path.display());
                    self.add(Effect::None, text, Some(&program.service));
                }
            }
        }
    }

    /// What several services say of main.cf is one thing, and concerns no service alone.
    fn without_repetitions(self) -> Self {
        let mut told: Vec<Complaint> = Vec::new();
        let mut places: HashMap<Mistake, usize> = HashMap::new();
        for complaint in self.complaints {
            match places.entry(Mistake::of(&complaint.text)) {
                Entry::Occupied(place) => {
                    let known = &mut told[*place.get()];
                    known.effect = known.effect.max(complaint.effect);
                    if known.service != complaint.service {
                        known.service = None;
                    }
                }
                Entry::Vacant(place) => {
                    place.insert(told.len());
                    told.push(complaint);
                }
            }
        }
        Self { complaints: told }
    }
}

/// The end of `check`, `start` and `reload` when this command itself cannot use main.cf: all is told that master finds,
/// and not the first fault alone.
pub(crate) fn without_main_cf(Unusable { directory, operands, error }: &Unusable) -> ! {
    let words: Vec<_> = operands.iter().map(|word| word.to_string_lossy()).collect();
    let (name, options) = words.split_first().map_or(("", &[][..]), |(name, rest)| (&**name, rest));
    if !COMMANDS_WITH_MASTER_CF.contains(&name) {
        maillog::fatal(error);
    }
    let findings = maillog::silently(|| examine(directory));
    let mut verdict = Verdict { complaints: findings.complaints }.without_repetitions();
    for file in [directory.main_cf(), directory.master_cf()] {
        form::examine_file(&mut verdict.complaints, &file.display().to_string());
    }
    if verdict.effect() != Effect::MasterDies {
        // Something that concerns commands alone.
        maillog::fatal(error);
    }
    if options.iter().any(|word| word == "--json") {
        verdict.tell_as_json();
    } else {
        for complaint in &verdict.complaints {
            let severity = match Level::of(complaint.effect) {
                Level::Warning => Severity::Warning,
                Level::Fatal => Severity::Fatal,
            };
            maillog::report(&maillog::ident(), severity, complaint.text.as_bytes());
        }
    }
    sys::process::exit_now(1)
}

/// Whether a line is about the form of a file, which each program tells that reads it.
fn is_about_reading(text: &str) -> bool {
    const WORDS: [&str; 2] =
        [": overriding earlier entry: ", ": logical line must not start with whitespace: "];
    WORDS.iter().any(|words| text.contains(words))
}

/// Whether a program is a daemon of Postern's that answers.
fn is_ours(path: &Path) -> bool {
    let marker = preflight::marker();
    fs::File::open(path).is_ok_and(|file| complaint::holds(file, marker.as_bytes()).unwrap_or(false))
}

/// Runs a daemon that tells what it would say.
fn ask(program: &Program) -> Result<Vec<Line>, String> {
    let mut words = program.arguments.iter().map(|word| std::ffi::OsStr::from_bytes(word));
    let mut command = Command::new(&program.path);
    command.arg0(words.next().unwrap_or_default()).args(words);
    command.env(preflight::ENVIRONMENT, "1").env_remove("MAIL_VERBOSE").env_remove("MAIL_DEBUG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("master_spawn: exec: {}", error_text(&error)))?;
    let said = child.stderr.take().map(read_aside);
    let end = child.stdout.take().map(read_aside);
    let status = await_end(&mut child)?;
    let text = |reader: Option<thread::JoinHandle<String>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    let (said, end) = (text(said), text(end));
    let lines: Vec<_> = said.lines().filter_map(Line::parse).collect();
    // A fatal error on the way is an answer, too.
    let is_complete =
        end.trim_end() == preflight::marker() || lines.iter().any(|line| line.level == Level::Fatal);
    if is_complete { Ok(lines) } else { Err(format!("cannot be asked: {status}")) }
}

fn read_aside(pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error counts.
        let _ = pipe.take(ANSWER_LIMIT).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn await_end(child: &mut Child) -> Result<String, String> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(1);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                return Ok(match status.signal() {
                    Some(signal) => format!("killed by signal {signal}"),
                    None => format!("exit status {}", status.code().unwrap_or(0)),
                });
            }
            Ok(None) if Instant::now() < deadline => thread::sleep(pause),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("no answer within {} seconds", PATIENCE.as_secs()));
            }
            Err(error) => return Err(error_text(&error)),
        }
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
