//! What came of a request, wherever it is told: by the services that the agent told, in the log, and in the queue file.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::LazyLock;

use conformance::{Instance, LogLine, mask};
use regex_lite::Regex;

use super::{Recipient, ask, verified};

/// Of a message that is a second before the queue manager and two in it.
static DELAYS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("delay=300[0-9]([.][0-9]+)?, delays=1000/2000/[0-9.]+/[0-9.]+").expect("a pattern")
});
static OFFSET: LazyLock<Regex> = LazyLock::new(|| Regex::new("offset=[0-9]+").expect("a pattern"));

/// The files of the bounce services, what verify knows when the flags say that it was to be told, the sites of the flush
/// service, and the types of the recipient records at these offsets of the queue file.
pub(crate) fn outcome(
    instance: &Instance,
    id: &str,
    flags: &str,
    recipients: &[Recipient<'_>],
    file: &Path,
    offsets: &[usize],
) -> Vec<String> {
    let mut lines = Vec::new();
    for queue in ["bounce", "defer", "trace"] {
        let spool = instance.queue_directory().join(queue);
        let found = [spool.join(id), spool.join(&id[..1]).join(id)];
        let text = found.iter().find_map(|path| fs::read(path).ok()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        lines.extend(text.lines().map(|line| format!("{queue}: {}", OFFSET.replace(line, "offset=N"))));
    }
    if flags.parse::<i32>().is_ok_and(|flags| flags & 256 != 0) {
        let known = |recipient: &Recipient| format!("verify: {}", verified(instance, recipient.address));
        lines.extend(recipients.iter().map(known));
    }
    lines.extend(sites(instance, id));
    let bytes = fs::read(file).expect("an agent removes nothing");
    let marks: String = offsets.iter().map(|offset| char::from(bytes[*offset])).collect();
    let mode = fs::metadata(file).expect("just read").permissions().mode() & 0o7777;
    let corrupt = if mode == 0o700 { String::new() } else { format!(", mode {mode:o}") };
    lines.push(format!("marks: {marks}{corrupt}"));
    lines
}

/// The sites for which the flush service keeps the message.
fn sites(instance: &Instance, id: &str) -> Vec<String> {
    let files = fs::read_dir(instance.queue_directory().join("flush")).into_iter().flatten().flatten();
    let has = |path: &Path| fs::read_to_string(path).is_ok_and(|text| text.contains(id));
    let mut names: Vec<String> = files
        .filter(|entry| has(&entry.path()))
        .map(|entry| format!("flush: {}", entry.file_name().to_string_lossy()))
        .collect();
    names.sort();
    names
}

/// Which programs' lines are told: all of the first, none of the others, and of the rest what is about the message, and what
/// went wrong. Of those that take mail in it is only what went wrong.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    pub(crate) whole: &'a [&'a str],
    pub(crate) hidden: &'a [&'a str],
}

/// What has been logged since; a line of a last, whole request is waited for, about a message (its ID, and where its content
/// begins) that is there for it.
pub(crate) fn logged(
    instance: &Instance,
    before: usize,
    id: &str,
    (last, offset): (&str, usize),
    told: Told,
) -> Vec<String> {
    let recipient = Recipient { address: "last@remote.test", original: "", orcpt: "", notify: "" };
    let offset = offset.to_string();
    let set = [("queue_id", last), ("nexthop", "2.0.0 last"), ("flags", "0"), ("offset", &offset)];
    ask(instance, "discard", &set, &[recipient], &[usize::MAX]);
    instance.wait_for_log(&format!("{last}: to=<last@remote.test>"));
    let is_told = |line: &LogLine| {
        !line.text.contains(last)
            && !told.hidden.contains(&line.program())
            && (told.whole.contains(&line.program())
                || line.text.contains(id) && !["smtpd", "cleanup"].contains(&line.program())
                || line.text.starts_with("warning: ") && !line.text.contains("public/qmgr")
                || line.text.starts_with("fatal: "))
    };
    let lines = instance.log().into_iter().skip(before).filter(is_told);
    lines
        .map(|line| {
            let text = mask(&line.text.replace(id, "QID"), &HashMap::new());
            format!("| {}: {}", line.ident, DELAYS.replace(&text, "DELAYS"))
        })
        .collect()
}
