//! The agent that hands messages to commands, asked as a queue manager asks it: what the command saw, and what came of it.
//!
//! | line | what |
//! | --- | --- |
//! | `$ ATTRIBUTES` | of the service in master.cf, each case its own; `SEE` is a command that writes down what it sees |
//! | `> FLAGS NEXTHOP` | the request |
//! | `= NAME VALUE` | an attribute of the request |
//! | `+ RECIPIENT\|ORIGINAL\|ORCPT\|NOTIFY` | a recipient of it |
//! | `: TEXT`, `:+ TEXT` | a line of content, and one that goes on in the next record; `\xNN` are bytes |
//! | `! TYPE` | a record of another type among the content |
//!
//! Then follow the reply (`<`), the log (`|`), the files of the bounce services, what verify knows, `marks:`, and what the
//! command saw (`saw:`).

mod random;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use conformance::{Instance, Plan, Service, require};
use nix::unistd::Uid;
use regex_lite::Regex;

use crate::agents::{Recipient, Told, ask, logged, outcome, recipient_offsets, write_message};
use crate::case_file::{Case, CaseFile, Marks, play_on_stages};

/// Behind the sender in a line of its own.
static DATE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("  [A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} [0-9]{4}").expect("a pattern")
});
/// Of a command that takes its time.
static LATE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("delay=300[0-9], delays=1000/2000/0/[0-9.]+").expect("a pattern"));

const MARKS: Marks = Marks { script: &['$', '>', '=', '+', ':', '!'], results: None };

#[test]
fn attributes() {
    play("attributes.txt");
}

#[test]
fn commands() {
    play("commands.txt");
}

#[test]
fn content() {
    play("content.txt");
}

#[test]
fn macros() {
    play("macros.txt");
}

/// `POSTERN_CASES=FILE`: cases of one's own.
#[test]
fn by_hand() {
    if let Some(file) = std::env::var_os("POSTERN_CASES") {
        play_on_stages(Path::new(&file).to_str().expect("a name"), &MARKS, stage_of(&file), Stage::play);
    }
}

fn play(file: &str) {
    require!(Uid::effective().is_root(), "commands run as other users");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/pipe_agent").join(file);
    play_on_stages(&format!("pipe_agent/{file}"), &MARKS, stage_of(&path), Stage::play);
}

/// A stage with a service for each case of the file that has these options.
fn stage_of(path: impl AsRef<Path>) -> impl Fn(&[String]) -> Stage {
    let text = fs::read_to_string(path).expect("a file of cases");
    let cases = CaseFile::parse(&text, &MARKS).cases;
    move |options| {
        let services = cases.iter().filter(|case| case.options == options).map(attributes_of);
        Stage::new(options, services.map(str::to_owned))
    }
}

fn attributes_of(case: &Case) -> &str {
    case.script.iter().find_map(|line| line.strip_prefix("$ ")).expect("each case has a service")
}

/// Agents, each a service, and the services that they tell, without a queue manager.
pub(crate) struct Stage {
    instance: Instance,
    /// Attributes, and the name of the service with them.
    services: HashMap<String, String>,
    see: PathBuf,
    saw: PathBuf,
    messages: AtomicUsize,
}

impl Stage {
    pub(crate) fn new(options: &[String], attributes: impl Iterator<Item = String>) -> Stage {
        Stage::of(Plan::new("pipe"), options, attributes)
    }

    /// What the plan has, with a service for each of these attributes.
    fn of(mut plan: Plan, options: &[String], attributes: impl Iterator<Item = String>) -> Stage {
        plan.with_delivery()
            .without("qmgr")
            .without("pickup")
            .set("in_flow_delay", "0")
            .set("address_verify_map", "");
        for option in options {
            let (name, value) = option.split_once('=').expect("name=value");
            plan.set(name, value);
        }
        let mut services = HashMap::new();
        // The folder is known when the plan is laid out, and the command lies elsewhere for that reason.
        static STAGES: AtomicUsize = AtomicUsize::new(0);
        let number = STAGES.fetch_add(1, Ordering::Relaxed);
        let home = std::env::temp_dir().join(format!("postern-see-{}-{number}", std::process::id()));
        fs::create_dir_all(&home).expect("a folder for the command");
        for text in attributes {
            if !services.contains_key(&text) {
                let name = format!("to{:03}", services.len());
                let line = text.replace("SEE", home.join("see").to_str().expect("a plain name"));
                let mut service = Service::new(format!("{name} unix - n n - - pipe"));
                service.arguments.push(line);
                plan.service(service);
                services.insert(text, name);
            }
        }
        let stage = Stage {
            instance: plan.start(),
            services,
            see: home.join("see"),
            saw: home.join("saw"),
            messages: AtomicUsize::new(0),
        };
        stage.make_command();
        // Commands that cannot be run, and attributes that no service can have.
        stage.instance.expect_fault("fatal: ");
        stage
    }

    /// A command that tells of itself in a file, and does what the words of its argument `do=` say.
    fn make_command(&self) {
        let text = include_str!("see.sh").replace("SAW", self.saw.to_str().expect("a plain name"));
        fs::write(&self.see, text).expect("its folder is there");
        fs::set_permissions(&self.see, fs::Permissions::from_mode(0o755)).expect("ours");
        fs::set_permissions(self.see.parent().expect("a folder"), fs::Permissions::from_mode(0o777))
            .expect("ours");
    }

    pub(crate) fn play(&self, case: &Case) -> Vec<String> {
        let _ = fs::remove_file(&self.saw);
        let part = |mark: &str| -> Vec<&str> {
            case.script.iter().filter_map(|line| line.strip_prefix(mark)).collect()
        };
        let recipients: Vec<_> = part("+ ").into_iter().map(Recipient::parse).collect();
        let request = part("> ");
        let (flags, nexthop) = request[0].split_once(' ').unwrap_or((request[0], ""));
        let service = &self.services[attributes_of(case)];
        let (id, file, offset) = self.message(&recipients, case);
        let spool = self.instance.queue_directory();
        let before = self.instance.log().len();
        let offset = offset.to_string();
        let mut set =
            vec![("offset", offset.as_str()), ("flags", flags), ("nexthop", nexthop), ("queue_id", &id)];
        set.extend(part("= ").into_iter().map(|line| line.split_once(' ').unwrap_or((line, ""))));
        let offsets = recipient_offsets(&fs::read(&file).expect("just made"));

        let mut lines = case.script.clone();
        lines.push(format!("< {}", ask(&self.instance, service, &set, &recipients, &offsets)));
        lines.extend(self.log(before, &id));
        lines.extend(outcome(&self.instance, &id, flags, &recipients, &file, &offsets));
        let saw = fs::read(&self.saw).unwrap_or_default();
        lines.extend(String::from_utf8_lossy(&saw).lines().map(|line| format!("saw: {line}")));
        let folder = spool.parent().expect("of the instance").display().to_string();
        let spool = spool.display().to_string();
        let home = self.see.parent().expect("a folder").display().to_string();
        for line in &mut lines {
            *line = line.replace(&id, "QID").replace(&spool, "SPOOL").replace(&home, "HOME");
            *line = line.replace(service.as_str(), "NAME").replace(&folder, "FOLDER");
            *line = DATE.replace(line, "  DATE").into_owned();
            *line = LATE.replace(line, "DELAYS").into_owned();
        }
        lines
    }

    /// A message in the active queue, and where its content begins.
    fn message(&self, recipients: &[Recipient<'_>], case: &Case) -> (String, PathBuf, usize) {
        let number = self.messages.fetch_add(1, Ordering::Relaxed);
        write_message(&self.instance, number, recipients, case)
    }

    /// What has been logged since.
    fn log(&self, before: usize, id: &str) -> Vec<String> {
        let (last, _, offset) = self.message(&[], &Case::default());
        let told = Told { whole: &[], hidden: &["master"] };
        logged(&self.instance, before, id, (&last, offset), told)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::env::var_os("POSTERN_KEEP").is_none() {
            let _ = self.see.parent().map(fs::remove_dir_all);
        }
    }
}
