//! The lists, their orders, and their rows.

use std::cmp::Reverse;

use metrics::{OpenFault, Shown};

use crate::queue::Message;
use crate::snapshot::{Found, Snapshot};
use crate::text::{age, fit, harmless, size};

/// A list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Page {
    /// Who is served.
    #[default]
    Sessions,
    /// What is in the queue.
    Messages,
    /// Where it is to go.
    Destinations,
    /// Why it has not gone.
    Reasons,
    /// What is wrong.
    Faults,
}

/// A row of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) text: String,
    /// The message that it is about.
    pub(crate) queue_id: Option<String>,
}

impl Page {
    /// All of them, with their keys.
    pub(crate) const ALL: [(u8, Self); 5] = [
        (b's', Self::Sessions),
        (b'm', Self::Messages),
        (b'd', Self::Destinations),
        (b'w', Self::Reasons),
        (b'f', Self::Faults),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sessions => "Sessions",
            Self::Messages => "Messages",
            Self::Destinations => "Destinations",
            Self::Reasons => "Why delayed",
            Self::Faults => "Faults",
        }
    }

    /// The orders that its rows can have; the first is the usual one.
    pub(crate) fn orders(self) -> &'static [&'static str] {
        match self {
            Self::Sessions => &["age", "client", "stage", "waiting"],
            Self::Messages => &["age", "size", "sender", "recipient", "queue"],
            Self::Destinations | Self::Reasons => &["count", "name"],
            Self::Faults => &["kind", "age", "last", "count"],
        }
    }

    /// The line above the rows.
    pub(crate) fn head(self, width: usize) -> String {
        match self {
            Self::Sessions => {
                columns(width, ["SERVICE", "CLIENT", "STAGE", "DOES", "FOR", "AGE", "QUEUE ID"])
            }
            Self::Messages => {
                message_columns(width, ["QUEUE", "QUEUE ID", "AGE", "SIZE", "SENDER", "RECIPIENT"])
            }
            Self::Destinations => fit("RECIPIENTS  DOMAIN", width),
            Self::Reasons => fit("RECIPIENTS  REASON", width),
            Self::Faults => fit(&fault_columns(["FAULT", "TIMES", "AGE", "LAST"], "SUBJECT: DETAIL"), width),
        }
    }

    /// Its rows, in this order.
    pub(crate) fn rows(self, snapshot: &Snapshot, order: usize, width: usize) -> Found<Vec<Row>> {
        let order = self.orders().get(order).copied().unwrap_or("");
        match self {
            Self::Sessions => {
                let mut sessions: Vec<&Shown> =
                    snapshot.sessions.as_ref().map_err(Clone::clone)?.iter().collect();
                match order {
                    "client" => sessions.sort_by(|a, b| a.client.cmp(&b.client)),
                    "stage" => sessions.sort_by(|a, b| a.stage.cmp(&b.stage)),
                    "waiting" => sessions.sort_by_key(|session| session.changed),
                    _ => {}
                }
                Ok(sessions.into_iter().map(|session| session_row(snapshot, session, width)).collect())
            }
            Self::Messages => {
                let mut messages: Vec<&Message> =
                    snapshot.queue.as_ref().map_err(Clone::clone)?.messages.iter().collect();
                match order {
                    "size" => messages.sort_by_key(|message| Reverse(message.size)),
                    "sender" => messages.sort_by(|a, b| a.sender.cmp(&b.sender)),
                    "recipient" => messages.sort_by(|a, b| a.recipient.cmp(&b.recipient)),
                    "queue" => messages.sort_by(|a, b| (&a.queue, a.time).cmp(&(&b.queue, b.time))),
                    _ => messages.sort_by_key(|message| message.time),
                }
                Ok(messages.into_iter().map(|message| message_row(snapshot, message, width)).collect())
            }
            Self::Destinations | Self::Reasons => {
                let listing = snapshot.queue.as_ref().map_err(Clone::clone)?;
                let counts = if self == Self::Reasons { &listing.reasons } else { &listing.destinations };
                let mut counts: Vec<&(String, u64)> = counts.iter().collect();
                if order == "name" {
                    counts.sort();
                }
                let row = |(name, count): &(String, u64)| {
                    let name = if name.is_empty() { "(none)".to_owned() } else { harmless(name) };
                    Row { text: fit(&format!("{count:>10}  {name}"), width), queue_id: None }
                };
                Ok(counts.into_iter().map(row).collect())
            }
            Self::Faults => {
                let mut faults: Vec<&OpenFault> =
                    snapshot.faults.as_ref().map_err(Clone::clone)?.iter().collect();
                match order {
                    "age" => faults.sort_by_key(|fault| fault.since),
                    "last" => faults.sort_by_key(|fault| Reverse(fault.last)),
                    "count" => faults.sort_by_key(|fault| Reverse(fault.count)),
                    _ => {}
                }
                Ok(faults.into_iter().map(|fault| fault_row(snapshot, fault, width)).collect())
            }
        }
    }
}

fn session_row(snapshot: &Snapshot, session: &Shown, width: usize) -> Row {
    let texts = [
        harmless(&session.service),
        harmless(&session.client),
        harmless(&session.stage),
        harmless(&session.activity),
        age(snapshot.since(session.changed)),
        age(snapshot.since(session.since)),
        harmless(&session.queue_id),
    ];
    let queue_id = Some(session.queue_id.clone()).filter(|id| !id.is_empty());
    Row { text: columns(width, texts.each_ref().map(String::as_str)), queue_id }
}

fn fault_row(snapshot: &Snapshot, fault: &OpenFault, width: usize) -> Row {
    let (since, last) = (age(snapshot.since(fault.since)), age(snapshot.since(fault.last)));
    let cells = [fault.kind.name(), &fault.count.to_string(), &since, &last];
    let what = harmless(&format!("{}: {}", fault.subject, fault.detail));
    Row { text: fit(&fault_columns(cells, &what), width), queue_id: None }
}

fn fault_columns([kind, count, since, last]: [&str; 4], what: &str) -> String {
    format!("{kind:<11} {count:>6} {since:>4} {last:>4}  {what}")
}

/// Those of sessions: all widths are fixed but the client's.
fn columns(width: usize, texts: [&str; 7]) -> String {
    // A long queue ID is cut on a narrow screen, rather than the client.
    let queue_id = if width < 100 { 11 } else { 16 };
    let widths = [8, width.saturating_sub(47 + queue_id).max(10), 14, 11, 4, 4, queue_id];
    join(width, &texts, &widths)
}

fn message_row(snapshot: &Snapshot, message: &Message, width: usize) -> Row {
    let more = match message.recipients {
        0 | 1 => String::new(),
        count => format!(" +{}", count - 1),
    };
    let sender = if message.sender.is_empty() { "<>".to_owned() } else { harmless(&message.sender) };
    let seconds = u64::try_from(snapshot.seconds().saturating_sub(message.time)).unwrap_or(0);
    let texts = [
        harmless(&message.queue),
        harmless(&message.id),
        age(seconds),
        size(message.size),
        sender,
        format!("{}{more}", harmless(&message.recipient)),
    ];
    let text = message_columns(width, texts.each_ref().map(String::as_str));
    Row { text, queue_id: Some(message.id.clone()) }
}

fn message_columns(width: usize, texts: [&str; 6]) -> String {
    let addresses = width.saturating_sub(41);
    let widths = [8, 16, 4, 6, (addresses / 2).max(8), (addresses - addresses / 2).max(8)];
    join(width, &texts, &widths)
}

fn join(width: usize, texts: &[&str], widths: &[usize]) -> String {
    let cells: Vec<String> = texts.iter().zip(widths).map(|(text, width)| fit(text, *width)).collect();
    fit(&cells.join(" "), width)
}
