//! An instance with users' mail, and what a delivery leaves in it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use conformance::{Instance, Plan, Service};
use nix::unistd::User;
use regex_lite::Regex;

use crate::addresses::records;
use crate::agents;
use crate::case_file::Case;

/// A message with what is copied in a special way.
const CONTENT: &str = "Subject: x\n\nFrom me\n>From you\n.dot\n\nlast\n";

pub(super) struct Stage {
    agents: agents::Stage,
    /// main.cf without the options of a case.
    main_cf: String,
}

/// The lines before the first case.
pub(super) fn head(file: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().take_while(|line| !line.starts_with("== ")).map(str::to_owned).collect()
}

impl Stage {
    pub(super) fn new(head: &[String]) -> Stage {
        Stage::with(Plan::new("local-agent"), head)
    }

    pub(super) fn with(mut plan: Plan, head: &[String]) -> Stage {
        plan.with_delivery()
            .without("qmgr")
            .without("pickup")
            .without("local")
            // Each request has a new process, which reads main.cf as the case wants it.
            .service(Service::new("local unix - n n - - local").option("max_use", "1"));
        let instance = instance(plan, head);
        let mut main_cf = String::new();
        instance.edit_main_cf(|text| {
            main_cf.clone_from(&text);
            text
        });
        Stage { agents: agents::Stage { instance, content: CONTENT.to_owned() }, main_cf }
    }

    /// The child that was to become the command says so.
    pub(super) fn expect_commands_that_cannot_be_run(&self) {
        self.agents.instance.expect_fault("fatal: execvp ");
        self.agents.instance.expect_fault("fatal: cannot change directory to ");
    }

    pub(super) fn play(&self, case: &Case) -> Vec<String> {
        let instance = &self.agents.instance;
        let home = instance.home();
        let own: Vec<PathBuf> = case
            .script
            .iter()
            .filter_map(|line| line.strip_prefix("@ "))
            .map(|line| make_file(instance, line))
            .collect();
        instance.edit_main_cf(|_| {
            let mut lines: Vec<String> = self.main_cf.lines().map(str::to_owned).collect();
            for option in &case.options {
                let (name, _) = option.split_once('=').expect("name=value");
                lines.retain(|line| line.split('=').next().is_none_or(|word| word.trim() != name));
                lines.push(option.replace("HOME", &home.display().to_string()));
            }
            lines.join("\n") + "\n"
        });
        let all = || -> BTreeMap<PathBuf, Content> {
            ["mail", "forward", "lists"].iter().flat_map(|name| files(&home.join(name))).collect()
        };
        let before = all();
        let queued = |instance: &Instance| {
            fs::read_dir(instance.queue_directory().join("incoming"))
                .expect("a queue")
                .flatten()
                .map(|entry| entry.path())
                .collect::<Vec<_>>()
        };
        for path in queued(instance) {
            let _ = fs::remove_file(path);
        }
        let mut asked = case.clone();
        let home_text = home.display().to_string();
        asked.script.iter_mut().for_each(|line| *line = line.replace("HOME", &home_text));
        let mut lines = self.agents.play(&asked);
        // Any number but 0 says that something is to be tried again.
        lines.iter_mut().for_each(|line| *line = TRIED_AGAIN.replace(line, " status not 0").into_owned());
        let mut forwarded: Vec<(String, Vec<u8>)> = Vec::new();
        for path in queued(instance) {
            let name = path.file_name().expect("an entry").to_string_lossy().into_owned();
            if name.contains('.') {
                continue;
            }
            forwarded.push((name, fs::read(&path).unwrap_or_default()));
            let _ = fs::remove_file(path);
        }
        forwarded.sort_by_key(|(_, bytes)| first_recipient(bytes));
        for (number, (id, bytes)) in forwarded.iter().enumerate() {
            let name = format!("NEW{}", number + 1);
            lines.iter_mut().for_each(|line| *line = line.replace(id, &name));
            let is_notice = records(bytes).iter().any(|(kind, data)| *kind == b'S' && data.is_empty());
            for (kind, data) in records(bytes) {
                let text = String::from_utf8_lossy(data).replace(id, &name);
                let text = masked(&text);
                // What else a notice says is bounce's affair.
                if is_notice && kind == b'N' && !NOTICE.iter().any(|part| text.starts_with(part)) {
                    continue;
                }
                if !MADE_HERE.iter().any(|part| text.starts_with(part)) && b"ASORNLd".contains(&kind) {
                    lines.push(format!("{name}: {} {text}", char::from(kind)));
                }
            }
        }
        let after = all();
        // By what is not the same in two runs they must not be put in order.
        let mut told: Vec<Vec<String>> = Vec::new();
        for (path, file) in &after {
            if before.get(path) != Some(file) {
                let shown = path.strip_prefix(home).expect("below it").display().to_string();
                let mut lines =
                    vec![format!("file {} {:o} {}:{}", masked(&shown), file.mode, file.uid, file.gid)];
                let text = String::from_utf8_lossy(&file.content).into_owned();
                let ours = text.lines().filter(|line| !MADE_HERE.iter().any(|part| line.starts_with(part)));
                lines.extend(ours.map(|line| format!("  {}", masked(line))));
                if !text.ends_with('\n') && !text.is_empty() {
                    lines.push("  (no line end)".to_owned());
                }
                told.push(lines);
            }
        }
        told.sort();
        lines.extend(told.concat());
        for path in after.keys().filter(|path| !before.contains_key(*path)) {
            let _ = fs::remove_file(path);
        }
        for (path, file) in &before {
            fs::write(path, &file.content).expect("our own folder");
        }
        for path in own {
            let _ = fs::remove_file(path);
        }
        let home = home.display().to_string();
        let host = nix::unistd::gethostname().expect("a name").to_string_lossy().into_owned();
        lines.iter().map(|line| masked(&line.replace(&home, "HOME").replace(&host, "HOST"))).collect()
    }
}

static ID: LazyLock<Regex> = LazyLock::new(|| Regex::new("id [0-9A-F]{8,};").expect("a pattern"));
static MESSAGE_ID: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("message_id=<[0-9]{14}\\.[0-9A-Z]+@").expect("a pattern"));
static DATE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? (?:[A-Z][a-z]{2} [ 0-9]{2} [0-9:]{8} [0-9]{4}|[ 0-9]+ [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} [-+0-9]{5} \\([A-Z]+\\))")
        .expect("a pattern")
});
static DELAYS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("delay=3[0-9]{3}, delays=1000/2000/0/[0-9.]+").expect("a pattern"));
static TRIED_AGAIN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(" status [1-9][0-9]*$").expect("a pattern"));
static UNIQUE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("[0-9]{10}\\.[VP][0-9A-Za-z]+").expect("a pattern"));

/// What no two runs have in common.
fn masked(line: &str) -> String {
    let line = ID.replace_all(line, "id QID;");
    let line = MESSAGE_ID.replace_all(&line, "message_id=<TIME.QID@");
    let line = DATE.replace_all(&line, "DATE");
    let line = DELAYS.replace_all(&line, "DELAYS");
    UNIQUE.replace_all(&line, "UNIQUE").into_owned()
}

/// What a notice says of recipients.
const NOTICE: [&str; 6] = ["To: ", "<", "Final-Recipient: ", "Action: ", "Status: ", "Diagnostic-Code: "];

/// How lines begin that say nothing about the agent.
const MADE_HERE: [&str; 24] = [
    "create_time=",
    "log_client_port=",
    "log_ident=",
    "Received: from ",
    "\tid ",
    "\tby ",
    "\tfor ",
    "\tMon,",
    "\tTue,",
    "\tWed,",
    "\tThu,",
    "\tFri,",
    "\tSat,",
    "\tSun,",
    "log_message_origin",
    "Message-Id: ",
    "Date: ",
    "Arrival-Date: ",
    "X-Postfix-Queue-ID: ",
    "From: ann@example.net",
    "--",
    "\tboundary=",
    "MIME-Version: ",
    "Content-",
];

fn first_recipient(bytes: &[u8]) -> Vec<u8> {
    records(bytes)
        .into_iter()
        .find(|(kind, _)| *kind == b'R')
        .map(|(_, data)| data.to_vec())
        .unwrap_or_default()
}

#[derive(Debug, PartialEq, Eq)]
struct Content {
    mode: u32,
    uid: u32,
    gid: u32,
    content: Vec<u8>,
}

/// The files below a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Content> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            let Ok(metadata) = entry.metadata() else { continue };
            let content = fs::read(entry.path()).unwrap_or_default();
            found.insert(
                entry.path(),
                Content { mode: metadata.mode() & 0o7777, uid: metadata.uid(), gid: metadata.gid(), content },
            );
        }
    }
    found
}

fn octal(text: &str) -> u32 {
    u32::from_str_radix(text, 8).expect("octal digits")
}

fn give(path: &Path, owner: &str) {
    let user = User::from_name(owner).ok().flatten().expect("Debian's base accounts");
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root may");
}

fn make_folder(path: &Path, mode: u32, owner: &str) {
    fs::create_dir_all(path).expect("our own folder");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own folder");
    give(path, owner);
}

/// `PATH MODE OWNER TEXT`.
fn make_file(instance: &Instance, line: &str) -> PathBuf {
    let mut words = line.splitn(4, ' ');
    let mut word = || words.next().unwrap_or_default();
    let (path, mode, owner, text) = (word(), word(), word(), word());
    let path = instance.home().join(path);
    if mode == "link" {
        let _ = fs::remove_file(&path);
        std::os::unix::fs::symlink(instance.home().join(owner), &path).expect("our own folder");
        return path;
    }
    if mode == "hard" {
        let _ = fs::remove_file(&path);
        fs::hard_link(instance.home().join(owner), &path).expect("our own folder");
        return path;
    }
    let text = text.replace("\\n", "\n").replace("HOME", &instance.home().display().to_string());
    fs::write(&path, text).expect("our own folder");
    fs::set_permissions(&path, fs::Permissions::from_mode(octal(mode))).expect("our own folder");
    give(&path, owner);
    path
}

/// Starts an instance as these lines say.
pub(super) fn instance(mut plan: Plan, head: &[String]) -> Instance {
    plan.set("in_flow_delay", "0")
        .set("relay_domains", "remote.test")
        .set("relay_recipient_maps", "")
        .set("fast_flush_domains", "remote.test")
        .set("address_verify_map", "")
        .set("alias_maps", "texthash:HOME/etc/aliases")
        .set("mail_spool_directory", "HOME/mail/")
        .set("forward_path", "HOME/forward/$user${recipient_delimiter}$extension, HOME/forward/$user")
        .set("recipient_delimiter", "+")
        .set("export_environment", "MAIL_CONFIG")
        .set("biff", "no");
    for line in head.iter().filter_map(|line| line.strip_prefix("set ")) {
        let (name, value) = line.split_once('=').expect("name=value");
        plan.set(name, value);
    }
    let instance = plan.prepare();
    let home = instance.home().display().to_string();
    instance.edit_main_cf(|text| text.replace("HOME", &home));
    instance.edit_master_cf(|text| text.replace("HOME", &home));
    for (name, mode) in [("mail", 0o1777), ("forward", 0o755), ("lists", 0o755)] {
        make_folder(&instance.home().join(name), mode, "root");
    }
    let aliases: String = head
        .iter()
        .filter_map(|line| line.strip_prefix("alias "))
        .map(|line| line.replacen(": ", " ", 1).replace("HOME", &home) + "\n")
        .collect();
    let path = instance.home().join("etc/aliases");
    fs::write(&path, aliases).expect("our own folder");
    for line in head {
        if let Some(line) = line.strip_prefix("dir ") {
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().expect("dir PATH MODE OWNER");
            let (path, mode, owner) = (word(), word(), word());
            make_folder(&instance.home().join(path), octal(mode), owner);
        } else if let Some(line) = line.strip_prefix("file ") {
            make_file(&instance, line);
        }
    }
    let outcome = instance.start_master(&["-w"]);
    assert!(outcome.status == Some(0), "master did not start: {outcome:?}\n{}", instance.log_text());
    instance
}
