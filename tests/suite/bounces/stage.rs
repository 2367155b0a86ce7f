//! The services, without a queue manager, and a message.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use conformance::{Instance, Plan, Suite, mask, version_at_least};
use regex_lite::Regex;

use crate::addresses::records;
use crate::case_file::bytes;

/// The message that requests are about.
pub(super) const ID: &str = "A1B2C3D4E5F";

/// Templates that say the same whoever has made them.
const TEMPLATES: &str = "\
failure_template = <<EOF
Subject: Failed

This is the mail system at host $myhostname.
$delay_warning_time_minutes minutes
EOF
delay_template = <<EOF
Charset: us-ascii
From: Clock <clock>
Subject: Late
Postmaster-Subject: Late for postmaster

For $delay_warning_time_hours hours of $maximal_queue_lifetime_days days, ${mail_name?{$mail_name}}, $$5.
EOF
success_template = <<EOF
Charset: iso-8859-1
Subject: Done

Gut.
EOF
verify_template = <<EOF
Only text.
EOF
";

/// One instance.
pub(super) struct Stage {
    pub(super) instance: Instance,
}

impl Stage {
    pub(super) fn new(options: &[String]) -> Stage {
        Stage::of(Suite::under_test(), options)
    }

    pub(super) fn of(suite: Suite, options: &[String]) -> Stage {
        let mut plan = Plan::for_suite("bounces", suite);
        plan.with_delivery().without("qmgr").without("pickup").set("in_flow_delay", "0");
        plan.set("delay_warning_time", "2h");
        let mut templates = TEMPLATES.to_owned();
        for option in options {
            let (name, value) = option.split_once('=').expect("name=value");
            match name {
                "templates" => templates = value.replace("\\n", "\n"),
                _ => drop(plan.set(name, value)),
            }
        }
        let instance = plan.prepare();
        if !options.iter().any(|option| option.starts_with("bounce_template_file")) {
            let file = instance.home().join("etc/templates");
            fs::write(&file, bytes(&templates)).expect("a new folder");
            age(&file);
            let line = format!("bounce_template_file = {}\n", file.display());
            instance.edit_main_cf(|text| text + &line);
        }
        let outcome = instance.start_master(&["-w"]);
        assert!(outcome.status == Some(0), "master did not start: {outcome:?}\n{}", instance.log_text());
        Stage { instance }
    }

    /// What requests begin with: this message, or none, and no logs.
    pub(super) fn start(&self, message: Option<&[u8]>) {
        match message {
            Some(message) => self.place("active", message, 0o700),
            None => drop(fs::remove_file(self.path("active"))),
        }
        for service in ["bounce", "defer", "trace"] {
            let _ = fs::remove_file(self.path(service));
        }
    }

    /// Plays the lines of a case, and tells all that came of it.
    pub(super) fn play(&self, script: &[String]) -> Vec<String> {
        self.message(&HashMap::new());
        let before = self.instance.log().len();
        let mut lines = Vec::new();
        for line in script {
            lines.push(line.clone());
            let mut words = line.split(' ').skip(1);
            let first = words.next().expect("each line says what is done");
            if line.starts_with('+') {
                match first {
                    "message" => self.message(&fields(words)),
                    "nothing" => fs::remove_file(self.path("active")).expect("there has been one"),
                    name => {
                        self.log_file(name, &bytes(&words.collect::<Vec<_>>().join(" ").replace("\\n", "\n")))
                    }
                }
                continue;
            }
            let command = words.next().expect("a command");
            lines.push(format!("< {}", self.ask(first, &request(command, &fields(words)))));
        }
        lines.extend(self.outcome(before));
        lines
    }

    /// What there is to see after requests.
    pub(super) fn outcome(&self, before: usize) -> Vec<String> {
        self.fence();
        let mut lines = Vec::new();
        let mut notices = Vec::new();
        for line in self.instance.log().into_iter().skip(before) {
            let is_of_bounce = line.program() == "bounce";
            if is_of_bounce && !line.text.contains("FENCE") {
                notices.extend(line.text.split_once("notification: ").map(|(_, id)| id.to_owned()));
                let home = self.instance.home().display().to_string();
                let text = mask(&line.text.replace(ID, "MSG").replace(&home, "HOME"), &HashMap::new());
                let told = format!("| {}: {}", line.ident, text.replace("QID1", "NEW"));
                // Each process that master starts reads the templates, and one may be started while another ends.
                if !(told.ends_with("-- ignoring this template") && lines.contains(&told)) {
                    lines.push(told);
                }
            }
        }
        for service in ["bounce", "defer", "trace"] {
            if let Ok(text) = fs::read(self.path(service)) {
                let text = String::from_utf8_lossy(&text).into_owned();
                lines.extend(text.split_terminator('\n').map(|line| format!("{service}: {line}")));
            }
            let _ = fs::remove_file(self.path(service));
        }
        for id in notices {
            let path = self.instance.queue_directory().join("incoming").join(&id);
            let bytes = fs::read(&path).unwrap_or_default();
            lines.push("notice:".to_owned());
            lines.extend(notice(&bytes, &id));
            let _ = fs::remove_file(&path);
        }
        if let Ok(bytes) = fs::read(self.path("active")) {
            let kinds = records(&bytes).into_iter().take_while(|(kind, _)| *kind != b'M');
            let marks: String =
                kinds.map(|(kind, _)| char::from(kind)).filter(|kind| "RDd".contains(*kind)).collect();
            lines.push(format!("marks: {marks}"));
        }
        lines
    }

    /// A line in the log behind all that the services have logged so far: requests are answered when their lines are written.
    fn fence(&self) {
        let number = self.instance.log_text().matches("FENCE").count();
        let name = format!("FENCE-{number}-");
        self.ask(
            "trace",
            &request("trace", &HashMap::from([("queue_name".to_owned(), name.clone().into_bytes())])),
        );
        self.instance.wait_for_log(&format!("malformed queue name: {name}"));
    }

    /// Where the message's file is in a directory of the queue.
    fn path(&self, directory: &str) -> PathBuf {
        let folder = self.instance.queue_directory().join(directory);
        if directory == "defer" { folder.join(&ID[..1]).join(ID) } else { folder.join(ID) }
    }

    /// Makes a file of the mail owner's.
    fn place(&self, directory: &str, content: &[u8], mode: u32) {
        let owner = fs::metadata(self.instance.queue_directory().join("active")).expect("a queue").uid();
        let path = self.path(directory);
        let folder = path.parent().expect("a folder");
        fs::create_dir_all(folder).expect("root may");
        chown(folder, Some(owner), None).expect("root may");
        fs::write(&path, content).expect("root may");
        chown(&path, Some(owner), None).expect("root may");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("root may");
    }

    /// Makes the log of a service.
    pub(super) fn log_file(&self, service: &str, content: &[u8]) {
        self.place(service, content, 0o600);
    }

    /// Makes the message: `sender`, `recipients` (a number), `time`, `header` (lines between `|`), `body` (lines, or a length),
    /// `size` (as the size record shall have it).
    fn message(&self, fields: &HashMap<String, Vec<u8>>) {
        self.place("active", &message(fields), 0o700);
    }

    /// Sends a request, and returns the answer; nothing when there is none.
    pub(super) fn ask(&self, service: &str, request: &[u8]) -> String {
        let path = self.instance.queue_directory().join("private").join(service);
        let mut stream = UnixStream::connect(path).expect("master listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
        // One that is refused early does not read it all.
        let _ = stream.write_all(request);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).replace('\0', " ");
        answer.trim_start_matches("protocol delivery_status_protocol").trim().to_owned()
    }
}

/// A file that was changed within the last second is read again and again.
fn age(path: &std::path::Path) {
    let then = std::time::SystemTime::now() - Duration::from_secs(10);
    let file = fs::File::options().write(true).open(path).expect("our own file");
    file.set_modified(then).expect("our own file");
}

fn fields<'a>(words: impl Iterator<Item = &'a str>) -> HashMap<String, Vec<u8>> {
    words
        .map(|word| {
            let (name, value) = word.split_once('=').expect("name=value");
            (name.to_owned(), bytes(&value.replace('_', " ")))
        })
        .collect()
}

/// A request, as it goes over the wire.
pub(super) fn request(command: &str, fields: &HashMap<String, Vec<u8>>) -> Vec<u8> {
    const COMMANDS: [&str; 6] = ["append", "flush", "warn", "verp", "one", "trace"];
    let options = if version_at_least(3, 10) { "sendopts" } else { "smtputf8" };
    let number = COMMANDS.iter().position(|known| *known == command);
    let number = number.map_or_else(|| command.to_owned(), |number| number.to_string());
    let mut list = Vec::new();
    let mut add = |name: &str, default: &str| {
        let key = if name == options { "options" } else { name };
        list.extend_from_slice(name.as_bytes());
        list.push(0);
        list.extend_from_slice(fields.get(key).map_or(default.as_bytes(), Vec::as_slice));
        list.push(0);
    };
    add("nrequest", &number);
    add("flags", "0");
    if command != "append" {
        add("queue_name", "active");
    }
    add("queue_id", ID);
    if command != "append" {
        for (name, default) in [
            ("encoding", ""),
            (options, "0"),
            ("sender", "ann@example.net"),
            ("envelope_id", ""),
            ("ret_flags", "0"),
        ] {
            add(name, default);
        }
    }
    if command == "verp" {
        add("verp_delimiters", "+=");
    }
    if matches!(command, "append" | "one") {
        for (name, default) in [
            ("original_recipient", ""),
            ("recipient", "bob@remote.test"),
            ("offset", "0"),
            ("dsn_orig_rcpt", ""),
            ("notify_flags", "0"),
            ("status", "5.1.1"),
            ("diag_type", ""),
            ("diag_text", ""),
            ("mta_type", ""),
            ("mta_mname", ""),
            ("action", "failed"),
            ("reason", "unknown user"),
        ] {
            add(name, default);
        }
    }
    list.push(0);
    list
}

/// A record, as it stands in a file.
fn record(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut record = vec![kind];
    let mut length = data.len();
    while length > 0x7f {
        record.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    record.push(u8::try_from(length).expect("seven bits"));
    record.extend_from_slice(data);
    record
}

/// The file of a message.
pub(super) fn message(fields: &HashMap<String, Vec<u8>>) -> Vec<u8> {
    let text = |name: &str, default: &str| -> String {
        fields
            .get(name)
            .map_or_else(|| default.to_owned(), |value| String::from_utf8_lossy(value).into_owned())
    };
    let mut envelope = record(b'T', text("time", "1795330952 5").as_bytes());
    match fields.get("sender") {
        Some(sender) if sender == b"none" => {}
        sender => envelope.extend(record(b'S', sender.map_or(b"ann@example.net", Vec::as_slice))),
    }
    for number in 0..text("recipients", "2").parse().expect("a number") {
        envelope.extend(record(b'R', format!("r{number}@remote.test").as_bytes()));
    }
    envelope.extend(record(b'M', b""));
    let mut content = Vec::new();
    let header = fields.get("header").map_or(&b"Subject: x|Message-ID: <m1@x>"[..], Vec::as_slice);
    let body = text("body", "hello");
    let body = body.parse().map_or_else(|_| body.into_bytes(), |length| vec![b'x'; length]);
    let lines = header.split(|byte| *byte == b'|').chain([&b""[..]]).chain(body.chunks(1000));
    lines.for_each(|line| content.extend(record(b'N', line)));
    let size = text("size", &content.len().to_string());
    let offset = 97 + envelope.len();
    let size = format!("{size:>15} {offset:>15} {:>15} {:>15} {size:>15} {:>15}", 2, 0, 0);
    let mut file = record(b'C', size.as_bytes());
    file.extend(envelope);
    file.extend(content);
    file.extend(record(b'X', b""));
    if let Some(message_id) = fields.get("id") {
        file.extend(record(b'A', &[b"message_id=", &message_id[..]].concat()));
    }
    file.extend(record(b'E', b""));
    file
}

static TIMES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("[A-Z][a-z]{2}, [ 0-9]?[0-9] [A-Z][a-z]{2} 20[0-9]{2} [0-9:]{8} [+-][0-9]{4}")
        .expect("a pattern")
});
static BOUNDARY: LazyLock<Regex> = LazyLock::new(|| Regex::new("MSG\\.[0-9]+/").expect("a pattern"));
static MESSAGE_ID: LazyLock<Regex> = LazyLock::new(|| Regex::new("<[0-9]{14}\\.NEW@").expect("a pattern"));

/// Envelope and content of a notice. The dates of the message itself stay.
fn notice(file: &[u8], id: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut in_header = true;
    for (kind, data) in records(file) {
        let text = String::from_utf8_lossy(data).replace(ID, "MSG").replace(id, "NEW");
        let text = BOUNDARY.replace_all(&text, "MSG.TIME/");
        let text = MESSAGE_ID.replace_all(&text, "<STAMP.NEW@").into_owned();
        match kind {
            b'S' | b'R' => lines.push(format!("{}: {text}", char::from(kind))),
            b'N' | b'L' => {
                in_header &= !text.is_empty();
                let text = if in_header { TIMES.replace_all(&text, "DATE").into_owned() } else { text };
                lines.push(format!("{} {text}", if kind == b'L' { "~" } else { ":" }));
            }
            _ => {}
        }
    }
    lines
}
