//! Delivery agents, asked as a queue manager asks them: what each answers, logs, tells the bounce services, and marks in the
//! queue file.
//!
//! A script line `> SERVICE FLAGS NEXTHOP` is a request, `+ RECIPIENT|ORIGINAL|ORCPT|NOTIFY` a recipient of it. Then follow
//! the reply (`<`), the log (`|`), the files of the bounce, defer and trace services (`bounce:` ...), what verify knows
//! (`verify:`), the sites of the flush service (`flush:`), and the types of the recipient records (`marks:`).

mod further_requests;
mod neighbours;
mod outcome;
mod settings;

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use conformance::{Client, Instance, Plan, Suite, require, version_at_least};
use nix::unistd::Uid;

use crate::addresses::records;
use crate::case_file::{Case, Marks, bytes, play_on_stages};

pub(crate) use neighbours::all_neighbours;
pub(crate) use outcome::{Told, logged, outcome};

const MARKS: Marks = Marks { script: &['>', '+'], results: None };

#[test]
fn error_and_retry() {
    play("error.txt");
}

#[test]
fn discard() {
    play("discard.txt");
}

/// Whatever a client sends: the process goes on with the next one.
#[test]
fn what_is_no_request() {
    require!(Uid::effective().is_root(), "Debian's bounce service needs root");
    let stage = Stage::new(&[]);
    stage.instance.expect_fault("unexpected attribute queue_name from discard socket");
    let say = |bytes: &[u8]| {
        let mut stream = socket(&stage.instance, "private/discard");
        assert_eq!(read_lists(&mut stream, 1), "protocol delivery_request_protocol");
        stream.write_all(bytes).expect("the agent reads");
        stream.shutdown(Shutdown::Write).expect("connected");
        read_lists(&mut stream, 1)
    };
    let refused =
        "status , diag_type , diag_text , mta_type , mta_mname , action , reason , status 4294967295";
    for (bytes, reply, line) in [
        (&b""[..], "", ""),
        (b"flags\x003\0\0", refused, "warning: missing attribute queue_name in input from discard socket"),
        (
            b"queue_name\0active\0\0",
            refused,
            "warning: deliver_request_get: error receiving common attributes",
        ),
        (b"flags\0x\0\0", refused, ""),
        (b"\0\0\0", refused, ""),
        (&[b'x'; 100_000], refused, ""),
    ] {
        assert_eq!(say(bytes), reply, "{bytes:?}");
        stage.instance.wait_for_log(line);
    }
    let (id, _) = stage.message(1);
    let recipient = || [Recipient { address: "bob@remote.test", original: "", orcpt: "", notify: "" }];
    let gone = "A1B2C3D4E5F";
    assert_eq!(stage.ask("discard", "3", "gone", gone, &recipient(), &[0]), refused);
    stage.instance.wait_for_log("warning: open active A1B2C3D4E5F: No such file or directory");
    if Suite::under_test().is_ours("discard") {
        // Where Postfix's own agents die.
        assert_eq!(stage.ask("discard", "3", "", &id, &recipient(), &[0]), refused);
        stage.instance.wait_for_log("empty nexthop hostname");
        assert_eq!(stage.ask("discard", "3", "gone", "../../etc/passwd", &recipient(), &[0]), refused);
        assert_eq!(
            stage.ask("discard", "3", "gone", &id, &recipient(), &[1]),
            refused,
            "no recipient stands there"
        );
    }
    assert!(stage.ask("discard", "3", "gone", &id, &recipient(), &[usize::MAX]).ends_with("status 0"));
    assert!(!stage.instance.log_text().contains("exit status"), "{}", stage.instance.log_text());
}

fn play(file: &str) {
    require!(Uid::effective().is_root(), "Debian's bounce service needs root");
    play_on_stages(&format!("agents/{file}"), &MARKS, Stage::new, Stage::play);
}

/// Agents and the services that they tell, without a queue manager.
pub(crate) struct Stage {
    pub(crate) instance: Instance,
    /// What each message says.
    pub(crate) content: String,
}

/// A message as the case gives it.
pub(crate) struct Message<'a> {
    pub(crate) sender: &'a str,
    /// Records, in place of those of a small message.
    pub(crate) content: Option<Vec<(u8, Vec<u8>)>>,
}

impl Default for Message<'_> {
    fn default() -> Self {
        Message { sender: "ann@example.net", content: None }
    }
}

/// A recipient as the case gives it.
pub(crate) struct Recipient<'a> {
    pub(crate) address: &'a str,
    pub(crate) original: &'a str,
    pub(crate) orcpt: &'a str,
    pub(crate) notify: &'a str,
}

impl Recipient<'_> {
    pub(crate) fn parse(line: &str) -> Recipient<'_> {
        let mut fields = line.trim_start_matches("+ ").split('|');
        let mut field = || fields.next().unwrap_or_default();
        Recipient { address: field(), original: field(), orcpt: field(), notify: field() }
    }
}

impl Stage {
    fn new(options: &[String]) -> Stage {
        Stage::of(Plan::new("agents"), options)
    }

    /// What the plan has, without a queue manager; an option is `name=value`.
    pub(crate) fn of(mut plan: Plan, options: &[String]) -> Stage {
        plan.with_delivery()
            .without("qmgr")
            .without("pickup")
            .set("in_flow_delay", "0")
            .set("relay_domains", "remote.test")
            .set("relay_recipient_maps", "")
            .set("fast_flush_domains", "remote.test")
            .set("address_verify_map", "");
        for option in options {
            let (name, value) = option.split_once('=').expect("name=value");
            plan.set(name, value);
        }
        Stage { instance: plan.start(), content: "Subject: x\n\nx\n".to_owned() }
    }

    pub(crate) fn play(&self, case: &Case) -> Vec<String> {
        self.play_with(case, &Message::default())
    }

    /// Plays a case with this message.
    pub(crate) fn play_with(&self, case: &Case, message: &Message) -> Vec<String> {
        let recipients: Vec<_> = case
            .script
            .iter()
            .filter(|line| line.starts_with('+'))
            .map(|line| Recipient::parse(line))
            .collect();
        let request = case.script.iter().find(|line| line.starts_with('>')).expect("each case has one");
        let mut words = request.trim_start_matches("> ").splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (service, flags, nexthop) = (word(), word(), word());
        let (id, file) = self.message(recipients.len().max(1));
        let bytes = fs::read(&file).expect("just made");
        let offsets = recipient_offsets(&bytes);
        if let Some(content) = &message.content {
            fs::write(&file, with_content(&bytes, content)).expect("our own file");
        }
        let content = content_offset(&bytes).unwrap_or(500).to_string();
        let set = [
            ("flags", flags),
            ("queue_id", &id),
            ("nexthop", nexthop),
            ("offset", &content),
            ("sender", message.sender),
        ];
        let before = self.instance.log().len();

        let mut lines = case.script.clone();
        lines.push(format!("< {}", ask(&self.instance, service, &set, &recipients, &offsets)));
        lines.extend(self.log(before, &id));
        lines.extend(outcome(&self.instance, &id, flags, &recipients, &file, &offsets));
        lines.iter_mut().for_each(|line| *line = line.replace(&id, "QID"));
        lines
    }

    /// A message of so many recipients, in the active queue.
    fn message(&self, recipients: usize) -> (String, PathBuf) {
        let mut client = Client::connect(self.instance.smtp_port());
        let to: Vec<String> = (0..recipients).map(|number| format!("r{number}@remote.test")).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let reply = client.send_message("ann@example.net", &to, &self.content);
        assert_eq!(reply.code, 250, "{}", reply.text());
        let id = reply.text().rsplit(' ').next().expect("a word").to_owned();
        let spool = self.instance.queue_directory();
        let path = spool.join("active").join(&id);
        fs::rename(spool.join("incoming").join(&id), &path).expect("one file system");
        (id, path)
    }

    /// Sends a request and returns the reply.
    fn ask(
        &self,
        service: &str,
        flags: &str,
        nexthop: &str,
        id: &str,
        recipients: &[Recipient<'_>],
        offsets: &[usize],
    ) -> String {
        let bytes = fs::read(self.instance.queue_directory().join("active").join(id)).unwrap_or_default();
        let content = content_offset(&bytes).unwrap_or(500).to_string();
        let set = [("flags", flags), ("queue_id", id), ("nexthop", nexthop), ("offset", &content)];
        ask(&self.instance, service, &set, recipients, offsets)
    }

    /// What has been logged since.
    fn log(&self, before: usize, id: &str) -> Vec<String> {
        let (last, _) = self.message(1);
        // Nothing is read of a message that is discarded.
        logged(&self.instance, before, id, (&last, 500), Told { whole: &[], hidden: &[] })
    }
}

/// A connection to a service.
pub(crate) fn socket(instance: &Instance, path: &str) -> UnixStream {
    let stream = UnixStream::connect(instance.queue_directory().join(path)).expect("master listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
    stream
}

/// A message in the active queue, and where its content begins: lines of the case that begin with `:` are lines of content,
/// with `:+` lines that go on in the next record, with `!` records of another type.
pub(crate) fn write_message(
    instance: &Instance,
    number: usize,
    recipients: &[Recipient<'_>],
    case: &Case,
) -> (String, PathBuf, usize) {
    let id = format!("A1B2C{number:06X}");
    let mut file = Vec::new();
    let mut put = |kind: u8, data: &[u8]| {
        file.push(kind);
        let mut length = data.len();
        while length > 127 {
            file.push(u8::try_from(length & 127).expect("seven bits") | 128);
            length >>= 7;
        }
        file.push(u8::try_from(length).expect("seven bits"));
        file.extend_from_slice(data);
        file.len()
    };
    let count = recipients.len();
    put(b'C', format!("{:15} {:15} {count:15} {:15} {:15} {:15}", 100, 100, 0, 100, 0).as_bytes());
    put(b'T', b"1700000000 123456");
    put(b'S', b"ann@example.net");
    for recipient in recipients {
        put(b'R', recipient.address.as_bytes());
    }
    let content = put(b'M', b"");
    let mut lines = 0;
    for line in &case.script {
        let (kind, text) = match line.as_bytes() {
            [b':', b'+', ..] => (b'L', line.get(3..).unwrap_or_default()),
            [b':', ..] => (b'N', line.get(2..).unwrap_or_default()),
            [b'!', _, kind, ..] => (*kind, line.get(4..).unwrap_or_default()),
            _ => continue,
        };
        put(kind, &bytes(text));
        lines += 1;
    }
    if lines == 0 {
        for text in ["Subject: hello", "", "text"] {
            put(b'N', text.as_bytes());
        }
    }
    put(b'X', b"");
    put(b'E', b"");
    let path = instance.queue_directory().join("active").join(&id);
    fs::write(&path, &file).expect("the queue is there");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("ours");
    let owner = fs::metadata(instance.queue_directory().join("active")).expect("a folder");
    std::os::unix::fs::chown(&path, Some(std::os::unix::fs::MetadataExt::uid(&owner)), None).expect("root");
    (id, path, content)
}

/// Sends a request in which these attributes are set, and returns the reply.
pub(crate) fn ask(
    instance: &Instance,
    service: &str,
    set: &[(&str, &str)],
    recipients: &[Recipient<'_>],
    offsets: &[usize],
) -> String {
    let mut stream = socket(instance, &format!("private/{service}"));
    let announced = read_lists(&mut stream, 1);
    if announced.is_empty() {
        // It has not started.
        return announced;
    }
    assert_eq!(announced, "protocol delivery_request_protocol");
    // One that ends instead of reading has no reply.
    let _ = stream.write_all(request(set, recipients, offsets).as_bytes());
    read_lists(&mut stream, 1)
}

/// A request in which these attributes are set.
fn request(set: &[(&str, &str)], recipients: &[Recipient<'_>], offsets: &[usize]) -> String {
    let options = if version_at_least(3, 10) { "sendopts" } else { "smtputf8" };
    let count = recipients.len().to_string();
    let times = BASE64_STANDARD.encode(times());
    let mut common = vec![
        ("flags", ""),
        ("queue_name", "active"),
        ("queue_id", ""),
        ("offset", "500"),
        ("size", "100"),
        ("nexthop", ""),
        ("encoding", ""),
        (options, "0"),
        ("sender", "ann@example.net"),
        ("envelope_id", ""),
        ("ret_flags", "0"),
        ("time", &times),
        ("log_client_name", ""),
        ("log_client_address", ""),
        ("log_client_port", ""),
        ("log_protocol_name", ""),
        ("log_helo_name", ""),
        ("sasl_method", ""),
        ("sasl_username", ""),
        ("sasl_sender", ""),
        ("log_ident", ""),
        ("rewrite_context", "local"),
        ("recipient_count", &count),
    ];
    for (name, value) in &mut common {
        if let Some((_, other)) = set.iter().rfind(|(other, _)| other == name) {
            *value = other;
        }
    }
    let mut bytes = list(&common);
    for (recipient, offset) in recipients.iter().zip(offsets) {
        bytes += &list(&[
            ("original_recipient", recipient.original),
            ("recipient", recipient.address),
            ("offset", &offset.to_string()),
            ("dsn_orig_rcpt", recipient.orcpt),
            ("notify_flags", if recipient.notify.is_empty() { "0" } else { recipient.notify }),
        ]);
    }
    bytes
}

/// What the verify service knows of an address.
pub(crate) fn verified(instance: &Instance, address: &str) -> String {
    let mut stream = socket(instance, "private/verify");
    read_lists(&mut stream, 1);
    stream
        .write_all(list(&[("request", "query"), ("address", address)]).as_bytes())
        .expect("the service reads");
    read_lists(&mut stream, 1)
}

/// Arrival 3000.2 seconds ago, active 2000.2 seconds ago, not yet handed over.
fn times() -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let mut bytes = Vec::new();
    for ago in [3_000_200, 2_000_200] {
        let moment = now - Duration::from_millis(ago);
        bytes.extend(moment.as_secs().to_ne_bytes());
        bytes.extend(u64::from(moment.subsec_micros()).to_ne_bytes());
    }
    bytes.resize(88, 0);
    bytes
}

fn list(attributes: &[(&str, &str)]) -> String {
    let mut text: String = attributes.iter().map(|(name, value)| format!("{name}\0{value}\0")).collect();
    text.push('\0');
    text
}

/// So many attribute lists, as text; fewer when the other side closes.
pub(crate) fn read_lists(stream: &mut UnixStream, count: usize) -> String {
    let mut lists = Vec::new();
    for _ in 0..count {
        let mut pairs = Vec::new();
        while let Some(name) = read_string(stream).filter(|name| !name.is_empty()) {
            pairs.push(format!("{name} {}", read_string(stream).unwrap_or_default()));
        }
        lists.push(pairs.join(", "));
    }
    lists.join("; ")
}

fn read_string(stream: &mut UnixStream) -> Option<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).ok()? == 1 {
        if byte[0] == 0 {
            return Some(String::from_utf8_lossy(&text).into_owned());
        }
        text.push(byte[0]);
    }
    None
}

/// Where the content begins.
fn content_offset(bytes: &[u8]) -> Option<usize> {
    offsets_of(bytes, b'M').first().map(|offset| offset + 2)
}

/// The file with other content.
fn with_content(bytes: &[u8], content: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let records = records(bytes);
    let start = records.iter().position(|(kind, _)| *kind == b'M').expect("a whole file") + 1;
    let end = records.iter().position(|(kind, _)| *kind == b'X').expect("a whole file");
    let head = records[..start].iter().copied();
    let tail = records[end..].iter().copied();
    let content = content.iter().map(|(kind, data)| (*kind, &data[..]));
    let mut file = Vec::new();
    for (kind, data) in head.chain(content).chain(tail) {
        file.push(kind);
        let mut length = data.len();
        while length >= 128 {
            file.push(u8::try_from(length % 128 + 128).expect("a byte"));
            length /= 128;
        }
        file.push(u8::try_from(length).expect("a byte"));
        file.extend_from_slice(data);
    }
    file
}

/// Where the recipient records are.
pub(crate) fn recipient_offsets(bytes: &[u8]) -> Vec<usize> {
    offsets_of(bytes, b'R')
}

/// Where the records of a type are.
fn offsets_of(bytes: &[u8], wanted: u8) -> Vec<usize> {
    let mut offset = 0;
    let mut found = Vec::new();
    for (kind, data) in records(bytes) {
        if kind == wanted {
            found.push(offset);
        }
        offset += 1 + data.len() + if data.len() < 128 { 1 } else { 2 };
    }
    found
}
