//! The agent for virtual mailboxes, asked as a queue manager asks it: what it answers, logs and marks, and what is in the
//! mailboxes afterwards, byte for byte.
//!
//! Beside the lines of [`agents`](crate::agents): `* NAME=VALUE` is an option of the service, `! COMMAND` is done in the
//! folder of the mailboxes, which is empty before, by a shell as root; `@ SENDER` is the sender, `= TEXT` and `~ TEXT` are records of lines and of pieces of lines that the message
//! consists of, `? TYPE TEXT` one of another type. What is seen beside: every file, with its mode, its owner and its text
//! (`/ ...`).

mod kills;
mod random;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use conformance::{Plan, Service, Suite, require};
use nix::unistd::Uid;
use regex_lite::Regex;

use crate::agents::{Message, Stage};
use crate::case_file::{Case, CaseFile, Marks, bytes, play_on_stages};

const MARKS: Marks = Marks { script: &['*', '>', '+', '!', '@', '=', '~', '?'], results: None };

/// Who has which mailbox, as tables of the instance.
const MAILBOXES: &str = "inline:{ {mbox@v.test=mbox}, {maildir@v.test=maildir/}, {folded@v.test=folded}, {deep@v.test=a/b/mbox}, \
    {deepdir@v.test=a/b/dir/}, {user@v.test=user}, {user+ext@v.test=user-ext}, {nouid@n.test=mbox}, \
    {nogid@g.test=mbox}, {root@v.test=mbox}, {rootgroup@v.test=mbox}, {low@v.test=mbox}, {word@v.test=mbox}, \
    {tail@v.test=mbox}, {minus@v.test=mbox}, {huge@v.test=mbox}, {blank@v.test=mbox}, {up@v.test=../up}, \
    {slashes@v.test=dir//}, {absolute@v.test=/mbox}, {space@v.test=a file}, {@catch.test=catch/}, \
    {null@v.test=/dev/null}, {other@v.test=mbox} } regexp:{ {/a b/ quoted} }";
const UIDS: &str = "inline:{ {nogid@g.test=4001}, {root@v.test=0}, {rootgroup@v.test=4001}, {low@v.test=99}, \
    {word@v.test=games}, {tail@v.test=4001x}, {minus@v.test=-1}, {huge@v.test=4294967297}, {blank@v.test= 4001}, \
    {@v.test=4001}, {@catch.test=4001}, {other@v.test=4005} }";
const GIDS: &str = "inline:{ {rootgroup@v.test=0}, {word@v.test=4002}, {@v.test=4002}, \
    {@catch.test=4002}, {nouid@n.test=4002} }";

#[test]
fn mailbox_files() {
    play("mailbox_files.txt");
}

#[test]
fn maildirs() {
    play("maildirs.txt");
}

#[test]
fn recipients() {
    play("recipients.txt");
}

#[test]
fn content() {
    play("content.txt");
}

fn play(file: &str) {
    require!(Uid::effective().is_root(), "mailboxes belong to other users");
    let path = format!("virtual_agent/{file}");
    let services = services(&path);
    play_on_stages(
        &path,
        &MARKS,
        |_| Site::of(Suite::under_test(), &services),
        |site, case| site.play(case, &services),
    );
}

/// The different options that the cases of a file have: a service for each, all in one instance.
fn services(path: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite").join(path);
    let text = fs::read_to_string(path).expect("a file of cases");
    let mut services: Vec<Vec<String>> = Vec::new();
    for case in &CaseFile::parse(&text, &MARKS).cases {
        let options = options(case);
        if !options.is_empty() && !services.contains(&options) {
            services.push(options);
        }
    }
    services
}

fn options(case: &Case) -> Vec<String> {
    case.script.iter().filter_map(|line| line.strip_prefix("* ")).map(str::to_owned).collect()
}

/// A stage and its mailboxes.
struct Site {
    stage: Stage,
    base: PathBuf,
}

impl Site {
    fn of(suite: Suite, services: &[Vec<String>]) -> Site {
        let mut plan = Plan::for_suite("virtual", suite);
        plan.set("virtual_mailbox_base", "$queue_directory/../mailboxes")
            .set("virtual_mailbox_domains", "")
            .set("virtual_mailbox_maps", MAILBOXES)
            .set("virtual_uid_maps", UIDS)
            .set("virtual_gid_maps", GIDS)
            .set("deliver_lock_attempts", "1");
        for (number, options) in services.iter().enumerate() {
            let service = Service::new(format!("virtual{number} unix - n n - - virtual"));
            plan.service(options.iter().fold(service, |service, option| {
                let (name, value) = option.split_once('=').expect("NAME=VALUE");
                service.option(name, value)
            }));
        }
        let stage = Stage::of(plan, &[]);
        let base = stage.instance.home().join("mailboxes");
        Site { stage, base }
    }

    fn play(&self, case: &Case, services: &[Vec<String>]) -> Vec<String> {
        let number = services.iter().position(|options| *options == self::options(case));
        let service = number.map_or("virtual".to_owned(), |number| format!("virtual{number}"));
        self.clean();
        let mut message = Message::default();
        for line in &case.script {
            let (mark, text) = line.split_at(line.len().min(2));
            match mark.trim_end() {
                "!" => self.shell(text),
                "@" => message.sender = text,
                "=" => message.content.get_or_insert_default().push((b'N', bytes(text))),
                "~" => message.content.get_or_insert_default().push((b'L', bytes(text))),
                "?" => {
                    let (kind, text) = text.split_at(1);
                    let record = (kind.as_bytes()[0], bytes(text.trim_start()));
                    message.content.get_or_insert_default().push(record);
                }
                _ => {}
            }
        }
        let mut renamed = case.clone();
        renamed
            .script
            .iter_mut()
            .for_each(|line| *line = line.replacen("> virtual ", &format!("> {service} "), 1));
        let mut lines = self.stage.play_with(&renamed, &message);
        lines.splice(..case.script.len(), case.script.iter().cloned());
        lines.extend(self.files());
        // Whatever the case has mounted.
        if case.script.iter().any(|line| line.contains("mount -t ")) {
            let _ = Command::new("umount").arg("-l").arg(self.base.join("disk")).status();
        }
        // What Postern tells beside of a table that cannot be opened, and a system error that is some older one's.
        lines.retain(|line| !line.contains("/etc/main.cf, line ") && !line.ends_with("(-o option)"));
        // What Postern tells beside of a table that cannot be opened; and a system error that is some older one's.
        lines.retain(|line| !line.contains("/etc/main.cf, line ") && !line.ends_with("(-o option)"));
        let base = format!("{}/", self.queue_directory());
        let masked = |line: String| {
            let line = line.replace(&base, "QUEUE/");
            let line = OLD_ERROR.replace(&line, "${1}ERROR").into_owned();
            let line = line.replace(&format!("relay={service},"), "relay=virtual,");
            NAME.replace_all(&line, "SEC.NAME.HOST").into_owned()
        };
        lines.into_iter().map(masked).collect()
    }

    fn queue_directory(&self) -> String {
        self.stage.instance.queue_directory().display().to_string()
    }

    /// An empty folder that anybody may look into, and only root may write to.
    fn clean(&self) {
        let _ = fs::remove_dir_all(&self.base);
        fs::create_dir_all(&self.base).expect("the instance's own folder");
        fs::set_permissions(&self.base, fs::Permissions::from_mode(0o1777)).expect("just made");
    }

    fn shell(&self, command: &str) {
        let status = Command::new("sh").args(["-ec", command]).current_dir(&self.base).status();
        assert!(status.expect("there is a shell").success(), "{command}");
    }

    fn files(&self) -> Vec<String> {
        let mut lines = Vec::new();
        list(&self.base, &self.base, &mut lines);
        lines
    }
}

/// Maildir names, but for what must be the file's own.
static NAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"1[0-9]{9}\.(P[0-9]+|V[0-9a-f]+I[0-9a-f]+M[0-9]+)\.[-.A-Za-z0-9]+").expect("a pattern")
});
static OLD_ERROR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("^(.* warning: table [a-z_]+: lookup .*: ).*$").expect("a pattern"));
/// What depends on when and where a message came in.
static DATED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"^(From .*  [A-Z][a-z]{2} [A-Z][a-z]{2} [ 1-3][0-9] [0-9:]{8} 20[0-9]{2}|(?s:Received: from .*)|(Date|Message-Id): .*)$",
    )
    .expect("a pattern")
});

fn list(base: &Path, folder: &Path, lines: &mut Vec<String>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    // Names in a maildir are in no order.
    entries.sort_by_cached_key(|path| {
        let name = NAME.replace_all(&path.display().to_string(), "SEC.NAME.HOST").into_owned();
        let is_file = fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
        (name, if is_file { fs::read(path).unwrap_or_default() } else { Vec::new() })
    });
    for path in entries {
        let metadata = fs::symlink_metadata(&path).expect("just seen");
        let kind = metadata.file_type();
        let shown = path.strip_prefix(base).expect("below it").display().to_string();
        let letter = match kind {
            _ if kind.is_dir() => 'd',
            _ if kind.is_symlink() => 'l',
            _ if kind.is_fifo() => 'p',
            _ if kind.is_char_device() => 'c',
            _ if kind.is_socket() => 's',
            _ => '-',
        };
        if let Some(found) = shown.rsplit('/').next().filter(|name| NAME.is_match(name)) {
            let own = format!(".V{:x}I{:x}M", metadata.dev(), metadata.ino());
            assert!(found.contains(&own) || shown.contains("tmp/"), "{shown} is not {own}");
        }
        lines.push(format!(
            "/ {letter}{:04o} {}:{} {shown}",
            metadata.mode() & 0o7777,
            metadata.uid(),
            metadata.gid()
        ));
        if kind.is_dir() {
            list(base, &path, lines);
        } else if kind.is_file() {
            let text = fs::read(&path).expect("we are root");
            lines.extend(shown_lines(&text).map(|line| format!("/   {line}")));
        }
    }
}

/// A text that may be anything, in lines; what a message has of its day is left out.
fn shown_lines(text: &[u8]) -> impl Iterator<Item = String> {
    let mut in_received = false;
    text.split_inclusive(|byte| *byte == b'\n').filter_map(move |line| {
        let shown = match line.strip_suffix(b"\n") {
            Some(line) => line.escape_ascii().to_string(),
            None => format!("{} (no line end)", line.escape_ascii()),
        };
        if in_received && line.starts_with(b"\t") {
            return None;
        }
        in_received = line.starts_with(b"Received: ");
        let is_dated = DATED.is_match(&shown);
        match shown.split_once("  ") {
            Some((from, _)) if is_dated && from.starts_with("From ") => Some(format!("{from}  DATE")),
            _ => (!is_dated).then_some(shown),
        }
    })
}
