//! Whole lives of messages, with a made-up clock.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::{
    Addressed, Choice, EntryId, Fault, Feedback, Limits, MessageId, Outcome, Scheduler, Settings, Stranded,
    TransportId,
};

/// A recipient, and the name of its transport.
type To = (String, Addressed<u64>);

fn to(transport: &str, nexthop: &str, recipient: u64) -> To {
    let addressed = Addressed {
        transport: TransportId::default(),
        nexthop: nexthop.into(),
        user: format!("user{recipient}").into_bytes(),
        is_flushed: false,
        recipient,
    };
    (transport.to_owned(), addressed)
}

fn assign(
    scheduler: &mut Scheduler<u64>,
    message: MessageId,
    recipients: Vec<To>,
    unread: Option<u64>,
    now: Instant,
) -> Vec<Stranded<u64>> {
    let address = |(name, to): To| Addressed {
        transport: scheduler.transport(name.as_bytes(), || panic!("{name} is new")),
        ..to
    };
    let recipients = recipients.into_iter().map(address).collect();
    scheduler.assign(message, recipients, unread, now)
}

/// A scheduler that has met all transports of these tests.
fn scheduler(limits: Limits, settings: impl Fn(&str) -> Settings) -> Scheduler<u64> {
    let mut scheduler = Scheduler::new(limits, settings("retry"));
    for name in ["smtp", "local", "slow", "gate", "t0", "t1", "t2", "t3"] {
        scheduler.transport(name.as_bytes(), || settings(name));
    }
    scheduler
}

fn fault() -> Fault {
    Fault {
        status: b"4.4.1".to_vec(),
        reason: b"delivery temporarily suspended: connection refused".to_vec(),
    }
}

/// A message with these recipients, all read.
fn message(scheduler: &mut Scheduler<u64>, recipients: Vec<To>, now: Instant) -> MessageId {
    let message = scheduler.admit(false, now);
    assert!(assign(scheduler, message, recipients, None, now).is_empty());
    message
}

/// The next request that an agent would get.
fn next(scheduler: &mut Scheduler<u64>, now: Instant) -> Option<(TransportId, EntryId)> {
    let transport = scheduler.next_connection()?;
    match scheduler.choose(transport, now) {
        Choice::Deliver(request) => Some((transport, request)),
        other => panic!("{other:?} where a connection could be used"),
    }
}

/// All that can be with agents at once, in the order in which they get it.
fn all_at_once(scheduler: &mut Scheduler<u64>, now: Instant) -> Vec<(MessageId, EntryId)> {
    std::iter::from_fn(|| {
        let (_, request) = next(scheduler, now)?;
        Some((scheduler.message_of(request).expect("it is busy"), request))
    })
    .collect()
}

fn good(scheduler: &mut Scheduler<u64>, request: EntryId, now: Instant) -> bool {
    scheduler.finish(request, Outcome::Good { again: false }, now).message_is_done
}

#[test]
fn recipients_are_grouped_by_destination_up_to_the_limit() {
    let now = Instant::now();
    let mut scheduler = scheduler(Limits::default(), |name| Settings {
        recipient_limit: if name == "local" { 1 } else { 2 },
        ..Settings::default()
    });
    let recipients = vec![
        to("smtp", "a.test", 1),
        to("local", "mx.test", 2),
        to("smtp", "B.test", 3),
        to("smtp", "A.TEST", 4),
        to("smtp", "a.test", 5),
        to("local", "mx.test", 6),
    ];
    message(&mut scheduler, recipients, now);
    let mut groups: Vec<Vec<u64>> = all_at_once(&mut scheduler, now)
        .iter()
        .map(|&(_, request)| scheduler.recipients(request).to_vec())
        .collect();
    groups.sort();
    assert_eq!(groups, [vec![1, 4], vec![2], vec![3], vec![5], vec![6]]);
    let verp = scheduler.admit(true, now);
    assert!(
        assign(&mut scheduler, verp, vec![to("smtp", "c.test", 7), to("smtp", "c.test", 8)], None, now)
            .is_empty()
    );
    assert_eq!(all_at_once(&mut scheduler, now).len(), 2);
}

#[test]
fn a_destination_gets_its_window_and_others_go_on() {
    let now = Instant::now();
    let mut scheduler = scheduler(Limits::default(), |_| Settings::default());
    let slow: Vec<_> =
        (0..10).map(|n| message(&mut scheduler, vec![to("smtp", "slow.test", n)], now)).collect();
    let fast = message(&mut scheduler, vec![to("smtp", "fast.test", 99)], now);
    let order: Vec<_> = all_at_once(&mut scheduler, now);
    let messages: Vec<_> = order.iter().map(|&(message, _)| message).collect();
    assert_eq!(messages, [&slow[..5], &[fast]].concat(), "the initial window, then who else can go");
    assert!(good(&mut scheduler, order[0].1, now));
    let messages: Vec<_> = all_at_once(&mut scheduler, now).into_iter().map(|(message, _)| message).collect();
    assert_eq!(messages, slow[5..7], "one in its place, and one more");
}

#[test]
fn small_messages_pass_a_large_one() {
    let start = Instant::now();
    let mut scheduler = scheduler(Limits::default(), |_| Settings {
        recipient_limit: 1,
        concurrency_limit: 1,
        ..Settings::default()
    });
    let large = message(&mut scheduler, (0..200).map(|n| to("smtp", "list.test", n)).collect(), start);
    let later = start + Duration::from_secs(1);
    let small: Vec<_> =
        (0..20).map(|n| message(&mut scheduler, vec![to("smtp", "one.test", 1000 + n)], later)).collect();
    let mut order = Vec::new();
    let now = later + Duration::from_secs(1);
    while let Some((_, request)) = next(&mut scheduler, now) {
        order.push(scheduler.message_of(request).expect("it is busy"));
        good(&mut scheduler, request, now);
    }
    assert_eq!(order.len(), 220);
    let last = order.iter().rposition(|message| small.contains(message)).expect("all were delivered");
    assert!(last < 150, "the last small message was delivery {last}");
    let before = order[..last].iter().filter(|&&message| message == large).count();
    assert!(before >= 60, "the large message had only {before} deliveries meanwhile");
}

#[test]
fn what_waits_for_a_dead_destination_goes_to_retry() {
    let now = Instant::now();
    let mut scheduler = scheduler(Limits::default(), |_| Settings::default());
    let messages: Vec<_> =
        (0..6).map(|n| message(&mut scheduler, vec![to("smtp", "dead.test", n)], now)).collect();
    let order = all_at_once(&mut scheduler, now);
    for &(_, request) in &order[..3] {
        let done = scheduler.finish(request, Outcome::DestinationFailed(fault()), now);
        assert!(done.message_is_done && done.stranded.is_empty() && scheduler.must_try_again(done.message));
    }
    let (transport, request) = next(&mut scheduler, now).expect("retry");
    assert_eq!(scheduler.transport_name(transport), b"retry");
    assert_eq!(scheduler.nexthop(request), b"4.4.1 delivery temporarily suspended: connection refused");
    assert_eq!(scheduler.message_of(request), Some(messages[5]));
    good(&mut scheduler, request, now);
    let seventh = message(&mut scheduler, vec![to("smtp", "dead.test", 7)], now);
    let (transport, request) = next(&mut scheduler, now).expect("retry");
    assert_eq!(
        (scheduler.transport_name(transport), scheduler.message_of(request)),
        (&b"retry"[..], Some(seventh))
    );
    good(&mut scheduler, request, now);
    for &(_, request) in &order[3..] {
        good(&mut scheduler, request, now);
    }
    message(&mut scheduler, vec![to("smtp", "dead.test", 8)], now);
    let (transport, _) = next(&mut scheduler, now).expect("the good results revived it");
    assert_eq!(scheduler.transport_name(transport), b"smtp");
}

#[test]
fn a_dead_transport_comes_back_after_its_time() {
    let now = Instant::now();
    let mut scheduler = scheduler(Limits::default(), |_| Settings::default());
    message(&mut scheduler, vec![to("smtp", "a.test", 1), to("smtp", "b.test", 2)], now);
    let transport = scheduler.next_connection().expect("smtp");
    scheduler.connection_ended(transport);
    assert!(scheduler.transport_failed(transport, &fault(), now).is_empty());
    let (retry, request) = next(&mut scheduler, now).expect("retry");
    assert_eq!(scheduler.recipients(request), [1]);
    scheduler.put_back(request);
    let stranded = scheduler.transport_failed(retry, &fault(), now);
    assert_eq!(stranded.iter().flat_map(|stranded| stranded.recipients.clone()).collect::<Vec<_>>(), [1, 2]);
    assert!(stranded.iter().all(|stranded| scheduler.is_done(stranded.message)));
    let again = scheduler.admit(false, now);
    assert_eq!(assign(&mut scheduler, again, vec![to("smtp", "a.test", 3)], None, now).len(), 1);
    let later = scheduler.next_moment().expect("they come back");
    scheduler.moment_passed(later);
    message(&mut scheduler, vec![to("smtp", "a.test", 4)], later);
    let (transport, _) = next(&mut scheduler, later).expect("smtp");
    assert_eq!(scheduler.transport_name(transport), b"smtp");
}

#[test]
fn an_agent_that_has_delivered_gets_what_its_transport_has_left() {
    let now = Instant::now();
    let mut scheduler = scheduler(Limits::default(), |_| Settings::default());
    message(&mut scheduler, vec![to("smtp", "a.test", 1), to("smtp", "b.test", 2)], now);
    let (smtp, request) = next(&mut scheduler, now).expect("smtp");
    good(&mut scheduler, request, now);
    assert!(scheduler.reuse_connection(smtp));
    let Choice::Deliver(request) = scheduler.choose(smtp, now) else { panic!("one is left") };
    assert_eq!(scheduler.recipients(request), [2]);
    good(&mut scheduler, request, now);
    assert!(!scheduler.reuse_connection(smtp) && scheduler.next_connection().is_none());
}

#[test]
fn rate_delays() {
    let now = Instant::now();
    let second = Duration::from_secs(1);
    let mut scheduler = scheduler(Limits::default(), move |name| match name {
        "slow" => Settings { destination_rate_delay: second, ..Settings::default() },
        _ => Settings { transport_rate_delay: second, ..Settings::default() },
    });
    for n in 0..2 {
        message(&mut scheduler, vec![to("slow", "a.test", n), to("gate", "b.test", n)], now);
    }
    let requests = all_at_once(&mut scheduler, now);
    assert_eq!(requests.len(), 2, "one of each");
    for (_, request) in requests {
        good(&mut scheduler, request, now);
    }
    let (gate, _) = next(&mut scheduler, now).expect("the gate is open again");
    assert_eq!(scheduler.rate_delay(gate), second);
    assert!(!scheduler.reuse_connection(gate), "it waits");
    assert!(next(&mut scheduler, now).is_none());
    scheduler.moment_passed(now + second);
    assert!(next(&mut scheduler, now + second).is_some());
}

#[test]
fn a_large_message_is_read_as_there_is_room() {
    let now = Instant::now();
    let limits = Limits { recipients: 30, ..Limits::default() };
    let mut scheduler = scheduler(limits, |_| Settings {
        recipients: 20,
        refill_limit: 5,
        recipient_limit: 1,
        ..Settings::default()
    });
    let message = scheduler.admit(false, now);
    let mut left: Vec<u64> = (0..1000).rev().collect();
    let mut read = |scheduler: &mut Scheduler<u64>, room: usize| {
        let recipients: Vec<_> =
            std::iter::from_fn(|| left.pop()).take(room).map(|n| to("smtp", "a.test", n)).collect();
        let unread = (!left.is_empty()).then_some(left.len() as u64);
        assert!(assign(scheduler, message, recipients, unread, now).is_empty());
    };
    let room = scheduler.room_for_new().0;
    assert_eq!(room, 30);
    read(&mut scheduler, room);
    let mut delivered = Vec::new();
    while let Some(transport) = scheduler.next_connection() {
        let request = loop {
            match scheduler.choose(transport, now) {
                Choice::Deliver(request) => break request,
                Choice::Read(message) => {
                    let room = scheduler.room_for_more(message).0;
                    assert!((1..=30).contains(&room), "{room}");
                    read(&mut scheduler, room);
                }
                Choice::Nothing => panic!("a connection for nothing"),
            }
        };
        delivered.extend_from_slice(scheduler.recipients(request));
        let done = good(&mut scheduler, request, now);
        assert_eq!(done, delivered.len() == 1000);
    }
    assert_eq!(delivered.len(), 1000);
    scheduler.release(message);
    assert_eq!((scheduler.messages(), scheduler.recipients), (0, 0));
    assert!(scheduler.transports.values().all(|transport| transport.free_slots == 20), "all slots are back");
}

/// A small generator of numbers, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Whatever happens in whatever order: every recipient is delivered, deferred or stranded once, no destination has more
/// requests than its limit, the counts are those of what is there, and in the end nothing is left.
#[test]
fn at_random() {
    for seed in 0..12 {
        let mut dice = Dice(seed);
        let limits = Limits { recipients: 40, recipient_minimum: 3, ..Limits::default() };
        let (cost, recipient_limit) = (i64::try_from(dice.below(7)).expect("small"), dice.below(4));
        let rate = dice.below(5) == 0;
        let mut scheduler = scheduler(limits, move |name| Settings {
            slot_cost: cost,
            concurrency_limit: if name == "t1" { 3 } else { 0 },
            recipient_limit: usize::try_from(recipient_limit).expect("small"),
            recipients: 25,
            extra_recipients: 10,
            refill_limit: 4,
            positive_feedback: if name == "t2" { Feedback::PerWindow(1.0) } else { Feedback::Fixed(1.0) },
            destination_rate_delay: Duration::from_secs(u64::from(rate && name == "t0")),
            transport_rate_delay: Duration::from_secs(u64::from(rate && name == "t3")),
            ..Settings::default()
        });
        let mut now = Instant::now();
        let mut unread: HashMap<MessageId, Vec<To>> = HashMap::new();
        let mut seen: HashMap<u64, u32> = HashMap::new();
        let (mut busy, mut opened) = (Vec::new(), Vec::new());
        let mut born = 0;
        let mut messages: u64 = 0;
        let read = |scheduler: &mut Scheduler<u64>,
                    unread: &mut HashMap<MessageId, Vec<To>>,
                    seen: &mut HashMap<u64, u32>,
                    message: MessageId,
                    room: usize,
                    now: Instant| {
            let left = unread.get_mut(&message).expect("a known message");
            let part: Vec<_> = left.drain(..room.min(left.len())).collect();
            let rest = (!left.is_empty()).then_some(left.len() as u64);
            for stranded in assign(scheduler, message, part, rest, now) {
                stranded.recipients.iter().for_each(|recipient| *seen.entry(*recipient).or_default() += 1);
            }
        };
        let finished = |scheduler: &mut Scheduler<u64>,
                        unread: &mut HashMap<MessageId, Vec<To>>,
                        seen: &mut HashMap<u64, u32>,
                        message: MessageId,
                        now: Instant| {
            while unread.contains_key(&message) && scheduler.is_done(message) {
                if scheduler.has_unread(message) {
                    let room = scheduler.room_for_more(message).0;
                    assert!(room > 0, "seed {seed}: a message without requests has room");
                    read(scheduler, unread, seen, message, room, now);
                } else {
                    scheduler.release(message);
                    unread.remove(&message);
                }
            }
        };
        for step in 0.. {
            match dice.below(10) {
                0 | 1 if messages < 60 => {
                    messages += 1;
                    let message = scheduler.admit(dice.below(8) == 0, now);
                    let most = if dice.below(6) == 0 { 80 } else { 4 };
                    let count = 1 + dice.below(most);
                    let mut recipients: Vec<_> = (0..count)
                        .map(|_| {
                            born += 1;
                            let mut to =
                                to(&format!("t{}", dice.below(4)), &format!("d{}.test", dice.below(6)), born);
                            to.1.is_flushed = dice.below(40) == 0;
                            to
                        })
                        .collect();
                    recipients.sort_by(|one, other| one.1.nexthop.cmp(&other.1.nexthop));
                    unread.insert(message, recipients);
                    let room = scheduler.room_for_new().0;
                    read(&mut scheduler, &mut unread, &mut seen, message, room, now);
                    finished(&mut scheduler, &mut unread, &mut seen, message, now);
                }
                2 => {
                    let unit = if dice.below(10) == 0 { 200 } else { 1 };
                    now += Duration::from_millis(dice.below(3000) * unit);
                    scheduler.moment_passed(now);
                }
                3 if dice.below(10) == 0 => scheduler.revive_all(),
                4 | 5 => opened.extend(scheduler.next_connection()),
                6 | 7 if !opened.is_empty() => {
                    let transport =
                        opened.swap_remove(usize::try_from(dice.below(opened.len() as u64)).expect("small"));
                    if dice.below(60) == 0 {
                        scheduler.connection_ended(transport);
                        for stranded in scheduler.transport_failed(transport, &fault(), now) {
                            stranded
                                .recipients
                                .iter()
                                .for_each(|recipient| *seen.entry(*recipient).or_default() += 1);
                            finished(&mut scheduler, &mut unread, &mut seen, stranded.message, now);
                        }
                        continue;
                    }
                    loop {
                        match scheduler.choose(transport, now) {
                            Choice::Deliver(request) if dice.below(80) == 0 => scheduler.put_back(request),
                            Choice::Deliver(request) => busy.push(request),
                            Choice::Read(message) => {
                                let room = scheduler.room_for_more(message).0;
                                assert!(room > 0, "seed {seed}");
                                read(&mut scheduler, &mut unread, &mut seen, message, room, now);
                                finished(&mut scheduler, &mut unread, &mut seen, message, now);
                                continue;
                            }
                            Choice::Nothing => {}
                        }
                        break;
                    }
                }
                _ if !busy.is_empty() => {
                    let request =
                        busy.swap_remove(usize::try_from(dice.below(busy.len() as u64)).expect("small"));
                    for recipient in scheduler.recipients(request) {
                        *seen.entry(*recipient).or_default() += 1;
                    }
                    let outcome = match dice.below(12) {
                        0 | 1 => Outcome::DestinationFailed(fault()),
                        2 => Outcome::Crashed,
                        3 => Outcome::Doubtful,
                        4 => Outcome::Good { again: true },
                        _ => Outcome::Good { again: false },
                    };
                    let transport = scheduler.transport_of(request).expect("it has one");
                    let done = scheduler.finish(request, outcome, now);
                    if scheduler.reuse_connection(transport) {
                        opened.push(transport);
                    }
                    for stranded in done.stranded {
                        stranded
                            .recipients
                            .iter()
                            .for_each(|recipient| *seen.entry(*recipient).or_default() += 1);
                        finished(&mut scheduler, &mut unread, &mut seen, stranded.message, now);
                    }
                    finished(&mut scheduler, &mut unread, &mut seen, done.message, now);
                }
                _ => {}
            }
            if step % 20 == 0 {
                scheduler.check();
            }
            assert!(step < 30_000, "seed {seed}: {} messages never end", scheduler.messages());
            if messages == 60 && scheduler.messages() == 0 {
                break;
            }
        }
        assert_eq!(seen.len() as u64, born, "seed {seed}");
        assert!(seen.values().all(|&times| times == 1), "seed {seed}: a recipient twice");
        assert!(
            scheduler.entries.is_empty() && scheduler.peers.is_empty() && scheduler.jobs.is_empty(),
            "seed {seed}"
        );
        assert!(scheduler.transports.values().all(|transport| transport.free_slots == 25), "seed {seed}");
        assert_eq!(scheduler.recipients, 0, "seed {seed}");
    }
}

impl<R> Scheduler<R> {
    /// Counts everything anew.
    fn check(&self) {
        for (id, destination) in &self.destinations {
            let transport = &self.transports[destination.transport];
            assert_eq!(transport.destinations.get(&destination.name), Some(&id));
            let of_it = |busy| {
                self.entries.values().filter(move |entry| entry.destination == id && entry.is_busy == busy)
            };
            assert_eq!(of_it(false).count(), destination.todo);
            assert_eq!(of_it(true).count(), destination.busy as usize);
            let waiting: usize =
                destination.peers.peers().into_iter().map(|peer| self.peers[peer].entries.len()).sum();
            assert_eq!(waiting, destination.todo);
            if transport.settings.concurrency_limit != 0 {
                assert!(
                    destination.window.size <= transport.settings.concurrency_limit.max(destination.busy)
                );
            }
            let offers = destination.has_room() && destination.todo > 0;
            assert_eq!(destination.offer.is_some(), offers);
            if let Some(offer) = destination.offer {
                assert_eq!(destination.peers.first(), Some((offer.place, offer.peer)));
                assert_eq!(self.jobs[offer.job].offers.get(&offer.turn), Some(&offer.peer));
                assert_eq!(transport.ready.get(&offer.place), Some(&offer.job));
            }
        }
        for (id, transport) in &self.transports {
            let of_it = || self.destinations.values().filter(|destination| destination.transport == id);
            assert_eq!(transport.capacity, of_it().map(|destination| destination.capacity).sum());
            assert_eq!(
                transport.ready.len(),
                transport.jobs.values().filter(|&&job| !self.jobs[job].offers.is_empty()).count()
            );
            let slots: i64 = self.jobs.values().filter(|job| job.transport == id).map(|job| job.slots).sum();
            assert_eq!(slots + transport.free_slots, transport.settings.recipients);
        }
        for (id, job) in &self.jobs {
            let waiting = self.entries.values().filter(|entry| entry.job == id && !entry.is_busy).count();
            assert_eq!(job.waiting(), i64::try_from(waiting).expect("small"));
            assert!(waiting == 0 || job.place.is_some(), "a job with something to do is on the list");
            assert_eq!(
                job.place.and_then(|place| self.transports[job.transport].jobs.get(&place)).is_some(),
                job.place.is_some()
            );
        }
        let recipients: usize = self.entries.values().map(|entry| entry.recipients.len()).sum();
        assert_eq!(self.recipients, i64::try_from(recipients).expect("small"));
    }
}
