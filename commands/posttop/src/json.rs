//! The same for programs: one object, with texts as they are.
//!
//! What could not be found out is `null`, and `errors` says why, by the same names.

use command::json::quoted;

use crate::snapshot::{Found, Snapshot};

/// The object, and a line end.
pub(crate) fn object(snapshot: &Snapshot) -> String {
    let mut errors = Vec::new();
    let mut note = |name: &str, why: &String| errors.push(format!("{}:{}", quoted(name), quoted(why)));
    let sessions = list(
        &snapshot.sessions,
        |why| note("sessions", why),
        |sessions| {
            array(sessions, |session| {
                members(&[
                    ("service", quoted(&session.service)),
                    ("client", quoted(&session.client)),
                    ("stage", quoted(&session.stage)),
                    ("activity", quoted(&session.activity)),
                    ("queue_id", quoted(&session.queue_id)),
                    ("pid", session.pid.to_string()),
                    ("number", session.number.to_string()),
                    ("age", snapshot.since(session.since).to_string()),
                    ("activity_age", snapshot.since(session.changed).to_string()),
                ])
            })
        },
    );
    let faults = list(
        &snapshot.faults,
        |why| note("faults", why),
        |faults| {
            array(faults, |fault| {
                members(&[
                    ("fault", quoted(fault.kind.name())),
                    ("subject", quoted(&fault.subject)),
                    ("detail", quoted(&fault.detail)),
                    ("count", fault.count.to_string()),
                    ("age", snapshot.since(fault.since).to_string()),
                    ("last", snapshot.since(fault.last).to_string()),
                ])
            })
        },
    );
    let totals = list(
        &snapshot.figures,
        |why| note("totals", why),
        |figures| {
            let each = figures.totals.iter().map(|(name, total)| format!("{}:{total}", quoted(name)));
            format!("{{{}}}", each.collect::<Vec<_>>().join(","))
        },
    );
    let rates = snapshot.rates.iter().map(|(name, rate)| format!("{}:{rate:.3}", quoted(name)));
    let rates = format!("{{{}}}", rates.collect::<Vec<_>>().join(","));
    let filters = array(&snapshot.filters, |(name, filter, verdict)| {
        members(&[
            ("filter", quoted(name)),
            ("connections", filter.connections.to_string()),
            ("failures", filter.failures.to_string()),
            ("verdicts", filter.verdicts.to_string()),
            ("verdict_seconds", verdict.map_or("null".to_owned(), |seconds| format!("{seconds:.6}"))),
        ])
    });
    let queue = list(
        &snapshot.queue,
        |why| note("queue", why),
        |listing| {
            let queues: Vec<_> = listing.queues.iter().collect();
            let counts = |counts: &[(String, u64)]| {
                array(counts, |(name, count)| {
                    members(&[("name", quoted(name)), ("recipients", count.to_string())])
                })
            };
            members(&[
                (
                    "queues",
                    array(&queues, |(name, content)| {
                        members(&[
                            ("queue_name", quoted(name)),
                            ("messages", content.messages.to_string()),
                            ("bytes", content.bytes.to_string()),
                            ("oldest", content.oldest.map_or("null".to_owned(), |time| time.to_string())),
                        ])
                    }),
                ),
                ("destinations", counts(&listing.destinations)),
                ("reasons", counts(&listing.reasons)),
            ])
        },
    );
    let mut object = members(&[
        ("host", quoted(&snapshot.host)),
        ("time", snapshot.seconds().to_string()),
        ("faults", faults),
        ("sessions", sessions),
        ("totals", totals),
        ("rates", rates),
        ("filters", filters),
        ("queue", queue),
        ("errors", format!("{{{}}}", errors.join(","))),
    ]);
    object.push('\n');
    object
}

fn list<T>(found: &Found<T>, note: impl FnOnce(&String), show: impl FnOnce(&T) -> String) -> String {
    match found {
        Ok(found) => show(found),
        Err(why) => {
            note(why);
            "null".to_owned()
        }
    }
}

fn members(members: &[(&str, String)]) -> String {
    let each = members.iter().map(|(name, value)| format!("{}:{value}", quoted(name)));
    format!("{{{}}}", each.collect::<Vec<_>>().join(","))
}

fn array<T>(items: &[T], show: impl Fn(&T) -> String) -> String {
    format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(","))
}
