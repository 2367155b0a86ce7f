//! How a state looks, in columns and rows: lines of text, with what stands out marked.

use crate::figures::RATES;
use crate::pages::{Page, Row};
use crate::snapshot::Snapshot;
use crate::text::{age, fit, harmless};

/// Columns of what is printed once.
const WIDTH: usize = 80;
/// Messages that are printed once.
const ONCE: usize = 50;
/// Filters that are shown.
const FILTERS: usize = 3;
/// Faults that are shown above the list.
const FAULTS: usize = 2;

/// How a line is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// As it is.
    Plain,
    /// A heading.
    Bold,
    /// The row that keys are about.
    Chosen,
}

/// A line of the picture.
pub(crate) type Line = (Look, String);

/// What lies over the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Over {
    /// Nothing.
    #[default]
    List,
    /// The keys.
    Help,
    /// What the log says of a message.
    Story(String, Vec<String>),
}

/// What is on the screen.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) page: Page,
    pub(crate) order: usize,
    /// The row that keys are about.
    pub(crate) chosen: usize,
    /// The first row that is seen.
    pub(crate) first: usize,
    pub(crate) over: Over,
    /// The last line: a question, or what came of it.
    pub(crate) message: String,
}

const HELP: [&str; 12] = [
    "s sessions   m messages   d destinations   w why mail is delayed",
    "f faults: what is wrong",
    "o            another order",
    "up down j k  choose a row; PgUp PgDn, Home End",
    "Enter        the story of the message: what the log says of it",
    "h            hold it          (postsuper -h)",
    "H            release it       (postsuper -H)",
    "r            requeue it       (postsuper -r)",
    "x            delete it        (postsuper -d)",
    "             each is asked again: y does it, any other key does not",
    "blank        look again now",
    "q            end; or, as Esc, close what lies over the list",
];

/// The lines above the list.
fn summary(snapshot: &Snapshot, width: usize) -> Vec<Line> {
    let busy = |activities: &[&str]| snapshot.busy_with(activities);
    let clock = sys::time::stamp_of(snapshot.time, sys::time::StampStyle::Log);
    let clock = String::from_utf8_lossy(&clock[7..]).into_owned();
    let host = harmless(&snapshot.host);
    let mut lines = vec![(Look::Bold, fit(&format!("posttop {host}  {clock}"), width))];
    let mut add = |text: String| lines.push((Look::Plain, fit(&text, width)));
    match &snapshot.sessions {
        Ok(sessions) => add(format!(
            "sessions  {}: {} wait for the client, {} work, {} with a filter; {} deliveries",
            sessions.len() - busy(&["delivery"]),
            busy(&["client"]),
            busy(&["work"]),
            busy(&["filter-turn", "filter", "verdict"]),
            busy(&["delivery"]),
        )),
        Err(why) => add(format!("sessions  not known: {}", harmless(why))),
    }
    let rate = |name: &&str| {
        let found = snapshot.rates.iter().find(|(known, _)| known == name);
        found.map_or_else(|| format!("{name} -"), |(_, rate)| format!("{name} {rate:.1}"))
    };
    match &snapshot.figures {
        Ok(_) => add(format!("a second  {}", RATES.iter().map(rate).collect::<Vec<_>>().join("  "))),
        Err(why) => add(format!("a second  not known: {}", harmless(why))),
    }
    match &snapshot.queue {
        Ok(listing) if listing.queues.is_empty() => add("queue     empty".to_owned()),
        Ok(listing) => {
            let shown = |(name, content): (&String, &crate::queue::Content)| {
                let since = content.oldest.map_or(0, |oldest| snapshot.seconds().saturating_sub(oldest));
                let oldest = age(u64::try_from(since).unwrap_or(0));
                format!("{} {} (oldest {oldest})", harmless(name), content.messages)
            };
            let queues: Vec<String> = listing.queues.iter().map(shown).collect();
            add(format!("queue     {}", queues.join("  ")));
        }
        Err(why) => add(format!("queue     not known: {}", harmless(why))),
    }
    for (number, (name, filter, verdict)) in snapshot.filters.iter().take(FILTERS).enumerate() {
        let verdict = verdict.map_or("-".to_owned(), |seconds| format!("{seconds:.2} s"));
        // Which session is with which filter is not known: they are told with the first.
        let sessions = match number {
            0 => format!(
                "busy {}  waiting {}  verdict {} ",
                busy(&["filter", "verdict"]),
                busy(&["filter-turn"]),
                busy(&["verdict"])
            ),
            _ => "verdict ".to_owned(),
        };
        add(format!("filter    {}  {sessions}({verdict})  failed {}", harmless(name), filter.failures));
    }
    let faults = snapshot.faults.as_deref().unwrap_or_default();
    for (number, fault) in faults.iter().take(FAULTS).enumerate() {
        let more = faults.len().saturating_sub(FAULTS);
        let more =
            if number + 1 == FAULTS && more > 0 { format!("and {more} more (f): ") } else { String::new() };
        let text = harmless(&fault.describe(snapshot.time).to_string());
        lines.push((Look::Bold, fit(&format!("fault     {more}{text}"), width)));
    }
    lines
}

/// The whole screen: so many lines of so many columns.
pub(crate) fn screen(snapshot: &Snapshot, state: &mut State, width: usize, height: usize) -> Vec<Line> {
    let mut lines = summary(snapshot, width);
    let tabs: Vec<String> = Page::ALL
        .iter()
        .map(|(key, page)| {
            let name = page.name();
            if *page == state.page { format!("[{name}]") } else { format!("{}:{name}", char::from(*key)) }
        })
        .collect();
    let order = state.page.orders().get(state.order).copied().unwrap_or("");
    let tabs = format!("{}  by {order} (o)  ? keys  q end", tabs.join(" "));
    lines.push((Look::Plain, fit("", width)));
    lines.push((Look::Bold, fit(&tabs, width)));
    let room = height.saturating_sub(lines.len() + 1);
    lines.extend(body(snapshot, state, width, room));
    lines.truncate(height.saturating_sub(1));
    lines.resize(height.saturating_sub(1), (Look::Plain, fit("", width)));
    lines.push((Look::Bold, fit(&harmless(&state.message), width)));
    lines
}

fn body(snapshot: &Snapshot, state: &mut State, width: usize, room: usize) -> Vec<Line> {
    let plain = |text: &str| (Look::Plain, fit(&harmless(text), width));
    match &state.over {
        Over::Help => return HELP.iter().map(|line| plain(line)).collect(),
        Over::Story(id, story) => {
            let most = room.saturating_sub(1);
            state.first = state.first.min(story.len().saturating_sub(most));
            let mut lines = vec![(Look::Bold, fit(&harmless(&format!("The story of {id}")), width))];
            lines.extend(story.iter().skip(state.first).take(most).map(|line| plain(line)));
            return lines;
        }
        Over::List => {}
    }
    let mut lines = vec![(Look::Bold, state.page.head(width))];
    match state.page.rows(snapshot, state.order, width) {
        Ok(rows) => {
            let most = room.saturating_sub(1).max(1);
            state.chosen = state.chosen.min(rows.len().saturating_sub(1));
            state.first = state.first.min(state.chosen).max((state.chosen + 1).saturating_sub(most));
            let row = |(number, row): (usize, Row)| {
                let look = if number == state.chosen { Look::Chosen } else { Look::Plain };
                (look, row.text)
            };
            lines.extend(rows.into_iter().enumerate().skip(state.first).take(most).map(row));
        }
        Err(why) => lines.push(plain(&format!("not known: {why}"))),
    }
    lines
}

/// All lists, one below the other, as text.
pub(crate) fn whole(snapshot: &Snapshot) -> String {
    let mut lines: Vec<String> = summary(snapshot, WIDTH).into_iter().map(|(_, text)| text).collect();
    for (_, page) in Page::ALL {
        lines.extend([String::new(), page.name().to_owned(), page.head(WIDTH)]);
        match page.rows(snapshot, 0, WIDTH) {
            Ok(rows) => {
                let left = rows.len().saturating_sub(ONCE);
                lines.extend(rows.into_iter().take(ONCE).map(|row| row.text));
                if left > 0 {
                    lines.push(format!("and {left} more"));
                }
            }
            Err(why) => lines.push(format!("not known: {}", harmless(&why))),
        }
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{Figures, Filter};
    use crate::queue::{Content, Listing, Message};
    use metrics::{Fault, OpenFault, Shown};
    use std::time::{Duration, SystemTime};

    fn snapshot() -> Snapshot {
        let session = |number: u64| Shown {
            pid: number,
            number,
            since: (10_000 - number * 60) * 1_000_000,
            changed: 9_990 * 1_000_000,
            service: "smtp".into(),
            client: format!("evil\u{1b}[2J{number}.example.com[192.0.2.{number}]"),
            stage: "RCPT".into(),
            activity: "client".into(),
            queue_id: "4jXJlq4m2tz1SlqS".into(),
        };
        let message = Message {
            queue: "deferred".into(),
            id: "49A92996152".into(),
            time: 0,
            size: 12_000,
            sender: "\u{9b}31m@example.com".into(),
            recipient: "b@example.org".into(),
            recipients: 3,
            reason: "no route".into(),
        };
        let fault = |number: u64| OpenFault {
            kind: Fault::Client,
            subject: format!("evil\u{1b}[2J{number}"),
            detail: "over a limit\r\n".into(),
            count: 3,
            since: 9_000 * 1_000_000,
            last: 9_990 * 1_000_000,
        };
        let content = Content { messages: 1, bytes: 1, oldest: Some(0) };
        Snapshot {
            host: "mx.example.com".into(),
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(10_000),
            sessions: Ok((1..=30).map(session).collect()),
            faults: Ok((1..=4).map(fault).collect()),
            figures: Ok(Figures::default()),
            rates: vec![("sent", 1.25)],
            filters: vec![("inet:127.0.0.1:10025".into(), Filter::default(), Some(0.123))],
            queue: Ok(Listing {
                queues: [("deferred".to_owned(), content)].into(),
                messages: vec![message],
                destinations: vec![("example.org".into(), 3)],
                reasons: vec![("no route".into(), 3)],
            }),
        }
    }

    #[test]
    fn any_size_is_filled_and_nothing_hostile_is_in_it() {
        for (width, height) in [(80, 24), (200, 60), (40, 10), (20, 3), (1, 1), (132, 24)] {
            for (_, page) in Page::ALL {
                for over in
                    [Over::List, Over::Help, Over::Story("\u{1b}".into(), vec!["\u{1b}[2J".into(); 99])]
                {
                    for order in 0..6 {
                        let mut state =
                            State { page, over: over.clone(), order, chosen: 25, ..State::default() };
                        state.message = "\u{7}what\r\n".into();
                        let lines = screen(&snapshot(), &mut state, width, height);
                        assert_eq!(lines.len(), height);
                        for (_, line) in lines {
                            assert_eq!(line.chars().count(), width, "{line:?}");
                            assert!(!line.contains(char::is_control), "{line:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_keys_fit_a_small_screen() {
        let lines = screen(&snapshot(), &mut State::default(), 80, 24);
        let tabs = "[Sessions] m:Messages d:Destinations w:Why delayed f:Faults  by age (o)  ? keys";
        assert!(lines.iter().any(|(_, line)| line.starts_with(tabs)), "{lines:?}");
    }

    #[test]
    fn the_chosen_row_is_seen() {
        let mut state = State { chosen: 29, ..State::default() };
        let chosen = |state: &mut State| {
            let lines = screen(&snapshot(), state, 80, 24);
            lines.into_iter().find(|(look, _)| *look == Look::Chosen).map(|(_, text)| text).unwrap()
        };
        assert!(chosen(&mut state).contains("evil?[2J30"), "the last");
        state.chosen = 0;
        assert!(chosen(&mut state).contains("evil?[2J1.example"), "the first");
        state.chosen = 1000;
        assert!(chosen(&mut state).contains("evil?[2J30"));
        assert_eq!(state.chosen, 29);
    }

    #[test]
    fn once() {
        let mut snapshot = snapshot();
        let text = whole(&snapshot);
        for part in [
            "sessions  30: 30 wait for the client, 0 work, 0 with a filter; 0 deliveries\n",
            "sent 1.2",
            "queue     deferred 1 (oldest 2h)\n",
            "filter    inet:127.0.0.1:10025  busy 0  waiting 0  verdict 0 (0.12 s)  failed 0\n",
            "deferred 49A92996152",
            "?31m@example.com    b@example.org +2\n",
            "         3  no route\n",
            "fault     client evil?[2J1: over a limit?? (3 times in 16m, last 10s ago)\n",
            "fault     and 2 more (f): client evil?[2J2: over a limit?? (3 times in 16m, las~\n",
            "client           3  16m  10s  evil?[2J4: over a limit??\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        snapshot.sessions = Err("metrics_enable is off".into());
        snapshot.figures = Err("metrics_enable is off".into());
        snapshot.queue = Err("Connection refused\u{1b}".into());
        let text = whole(&snapshot);
        assert!(text.contains("sessions  not known: metrics_enable is off\n"), "{text}");
        assert!(text.contains("queue     not known: Connection refused?\n"), "{text}");
    }
}
