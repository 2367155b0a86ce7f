//! Handing conversations over to cleanup: behind the record `m` and their number the stream changes to attributes (spec
//! ipc 6.5).

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use ipc::attr::{Decoder, Encoder, Error, Flags};
use ipc::client::Stream;

use crate::connection::Connection;
use crate::conversation::{Conversation, State};
use crate::macros::{Defaults, MacroLists, bare};
use crate::milters::{Milter, Milters};
use crate::negotiation::{Actions, Agreement, Steps};
use crate::settings::{Common, MilterSettings, Settings};

const LISTS: [&str; 8] = [
    "conn_macros",
    "helo_macros",
    "mail_macros",
    "rcpt_macros",
    "data_macros",
    "eoh_macros",
    "eod_macros",
    "unk_macros",
];
const SIZE: &str = "size";
const NAME: &str = "milter_name";
const VERSION: &str = "milter_version";
const ACTIONS: &str = "milter_actions";
const EVENTS: &str = "milter_events";
const NON_EVENTS: &str = "milter_non_events";
const STATE: &str = "milter_state";
const TIMEOUTS: [&str; 3] = ["milter_conn_timeout", "milter_cmd_timeout", "milter_msg_timeout"];
const ACTION: &str = "milter_action";
const OWN_LISTS: &str = "milter_macro_list";
const DUMMY: &str = "dummy";
const STATUS: &str = "status";

/// Why a hand-over failed.
#[derive(Debug)]
pub enum Failure {
    /// Reading or writing attributes.
    Attributes(Error),
    /// The socket, or its passing.
    Io(io::Error),
    /// The other side says so, or what it says is not possible.
    Refused,
}

impl Failure {
    /// Tells the log.
    pub fn warn(&self) {
        match self {
            Self::Attributes(error) => error.warn(),
            Self::Io(error) => log::warn!("passing a Milter's socket: {error}"),
            Self::Refused => {}
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Attributes(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn lists(list: Encoder, lists: &MacroLists) -> Encoder {
    let values = [
        &lists.connect,
        &lists.helo,
        &lists.mail,
        &lists.rcpt,
        &lists.data,
        &lists.end_of_headers,
        &lists.end_of_data,
        &lists.unknown,
    ];
    LISTS.iter().zip(values).fold(list, |list, (name, value)| list.string(name, value))
}

fn read_lists(list: &mut Decoder<'_, impl io::BufRead + ?Sized>) -> Result<MacroLists, Error> {
    Ok(MacroLists {
        connect: list.string(LISTS[0])?,
        helo: list.string(LISTS[1])?,
        mail: list.string(LISTS[2])?,
        rcpt: list.string(LISTS[3])?,
        data: list.string(LISTS[4])?,
        end_of_headers: list.string(LISTS[5])?,
        end_of_data: list.string(LISTS[6])?,
        unknown: list.string(LISTS[7])?,
    })
}

fn seconds(time: Duration) -> i32 {
    i32::try_from(time.as_secs()).unwrap_or(i32::MAX)
}

impl Milters {
    /// How many can be handed over: the number in the record `m`.
    #[must_use]
    pub fn active(&self) -> usize {
        self.milters().iter().filter(|milter| milter.conversation.is_active()).count()
    }

    /// Hands them over on a connection to cleanup, right behind the record. Nothing is written when none is active.
    ///
    /// # Errors
    /// cleanup has gone, or does not understand.
    pub fn send(&mut self, stream: &mut Stream) -> Result<(), Failure> {
        if self.active() == 0 {
            return Ok(());
        }
        let common = self.common();
        let defaults = &common.defaults.0;
        let size = i32::try_from(defaults.len()).unwrap_or(i32::MAX);
        let head = lists(Encoder::null(), &common.lists).int(SIZE, size);
        let head = if defaults.is_empty() {
            head
        } else {
            // Names travel in braces (observed, 3.7.11).
            let braced: Vec<_> =
                defaults.iter().map(|(name, value)| ([b"{", &name[..], b"}"].concat(), value)).collect();
            head.hash(braced.iter().map(|(name, value)| (&name[..], &value[..])))
        };
        stream.write_all(head.unterminated())?;
        for milter in self.iter_mut().filter(|milter| milter.conversation.is_active()) {
            milter.send(stream)?;
        }
        let (input, from) = stream.input();
        let mut list = Decoder::null(input, from, Flags::STRICT);
        let status = list.int(STATUS)?;
        list.end()?;
        if status == 0 { Ok(()) } else { Err(Failure::Refused) }
    }

    /// Takes over so many from a connection of smtpd. `settings` are for what is not told.
    ///
    /// `input` is the stream of records, at the byte behind the record `m`; nothing may have been read beyond it but
    /// into its own buffer. `output` is the same connection, `socket` where descriptors come by.
    ///
    /// # Errors
    /// smtpd has gone, or does not make sense: fatal, `cleanup_milter_receive: milter receive failed`.
    pub fn receive(
        count: usize,
        input: &mut (impl io::BufRead + ?Sized),
        from: &str,
        socket: &UnixStream,
        settings: &Settings,
        soft_bounce: bool,
    ) -> Result<Self, Failure> {
        let mut list = Decoder::null(input, from, Flags::NONE);
        let lists = read_lists(&mut list)?;
        let size = list.int(SIZE)?;
        let told = if size > 0 { list.hash()? } else { Vec::new() };
        let defaults =
            Defaults(told.into_iter().map(|(name, value)| (bare(&name).to_vec(), value)).collect());
        let common = Arc::new(Common { lists, defaults, soft_bounce });
        let mut milters = Vec::new();
        // The list has not ended: what belongs to the first filter is part of it.
        for _ in 0..count {
            milters.push(Milter::receive(input, from, socket, settings, &common)?);
        }
        Encoder::null().int(STATUS, 0).send(&mut &*socket)?;
        Ok(Self::resumed(milters, common))
    }
}

impl Milter {
    fn send(&mut self, stream: &mut Stream) -> Result<(), Failure> {
        let conversation = &self.conversation;
        let settings = &conversation.milter.settings;
        let agreement = &conversation.agreement;
        let number = |bits: u32| i32::from_ne_bytes(bits.to_ne_bytes());
        let list = Encoder::null()
            .string(NAME, conversation.name())
            .int(VERSION, number(agreement.version))
            .int(ACTIONS, number(agreement.actions.bits()))
            .int(EVENTS, number(agreement.steps.bits()))
            .int(NON_EVENTS, number(agreement.missing.bits()))
            .int(STATE, conversation.state as i32)
            .int(TIMEOUTS[0], seconds(settings.connect_timeout))
            .int(TIMEOUTS[1], seconds(settings.command_timeout))
            .int(TIMEOUTS[2], seconds(settings.content_timeout))
            .string(ACTION, &settings.default_action)
            .int(OWN_LISTS, i32::from(agreement.lists.is_some()));
        let list = match &agreement.lists {
            Some(own) => lists(list, own),
            None => list,
        };
        // Both ends of the hand-over leave nothing behind.
        let connection = self.connection().ok_or(Failure::Refused)?;
        // A filter that has gone meanwhile is for cleanup to find out, as in Postfix: the others are handed over, too.
        let _ = connection.flush();
        stream.write_all(&list.finish())?;
        expect_dummy(stream)?;
        let connection = self.connection().ok_or(Failure::Refused)?;
        sys::pass::send(stream.socket(), connection)?;
        expect_dummy(stream)
    }

    fn receive(
        input: &mut (impl io::BufRead + ?Sized),
        from: &str,
        socket: &UnixStream,
        settings: &Settings,
        common: &Arc<Common>,
    ) -> Result<Self, Failure> {
        let mut list = Decoder::null(input, from, Flags::STRICT);
        let name = list.string(NAME)?;
        let number = |number: i32| u32::from_ne_bytes(number.to_ne_bytes());
        let mut agreement = Agreement {
            version: number(list.int(VERSION)?),
            actions: Actions::from_bits_retain(number(list.int(ACTIONS)?)),
            steps: Steps::from_bits_retain(number(list.int(EVENTS)?)),
            missing: Steps::from_bits_retain(number(list.int(NON_EVENTS)?)),
            lists: None,
        };
        let state = State::from_number(list.int(STATE)?).ok_or(Failure::Refused)?;
        let time = |seconds: i32| Duration::from_secs(u64::try_from(seconds).unwrap_or(1).max(1));
        let settings = Settings {
            connect_timeout: time(list.int(TIMEOUTS[0])?),
            command_timeout: time(list.int(TIMEOUTS[1])?),
            content_timeout: time(list.int(TIMEOUTS[2])?),
            default_action: String::from_utf8_lossy(&list.string(ACTION)?).into_owned(),
            ..settings.clone()
        };
        if list.int(OWN_LISTS)? != 0 {
            agreement.lists = Some(read_lists(&mut list)?);
        }
        list.end()?;
        send_dummy(socket)?;
        let passed = sys::pass::receive(socket)?;
        send_dummy(socket)?;
        let milter = MilterSettings { name: String::from_utf8_lossy(&name).into_owned(), settings };
        let conversation = Conversation::resumed(milter, state, agreement, common.soft_bounce);
        Ok(Self::resumed(conversation, Connection::over(passed), Arc::clone(common)))
    }
}

fn expect_dummy(stream: &mut Stream) -> Result<(), Failure> {
    let (input, from) = stream.input();
    let mut list = Decoder::null(input, from, Flags::STRICT);
    list.string(DUMMY)?;
    Ok(list.end()?)
}

fn send_dummy(socket: &UnixStream) -> io::Result<()> {
    Encoder::null().string(DUMMY, "").send(&mut &*socket)
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read, Write};
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use ipc::client::Stream;

    use crate::macros::{Defaults, MacroLists};
    use crate::settings::{Common, Settings, milters};
    use crate::{Event, Macros, Milters, Response, State};

    struct Nothing;

    impl Macros for Nothing {
        fn value(&self, _: &[u8]) -> Option<Vec<u8>> {
            None
        }
    }

    /// A filter that agrees to everything, wants one list of macros, and continues.
    fn filter(listener: TcpListener) -> std::thread::JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            loop {
                let mut length = [0; 4];
                if socket.read_exact(&mut length).is_err() {
                    return seen;
                }
                let mut packet = vec![0; u32::from_be_bytes(length) as usize];
                socket.read_exact(&mut packet).unwrap();
                match packet[0] {
                    b'O' => {
                        socket.write_all(b"\0\0\0\x13O\0\0\0\x06\0\0\x01\xff\0\0\0\0\0\0\0\0j\0").unwrap()
                    }
                    b'D' | b'Q' | b'A' => {}
                    _ => socket.write_all(b"\0\0\0\x01c").unwrap(),
                }
                seen.push(packet[0]);
            }
        })
    }

    #[test]
    fn conversations_go_on_in_another_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let list = format!("inet:{} {{ inet:x:1 default_action=accept }}", listener.local_addr().unwrap());
        let serving = filter(listener);
        let settings = Settings::default();
        let lists = MacroLists { connect: b"j".to_vec(), ..MacroLists::default() };
        let defaults = Defaults::parse("a=1 b=2").unwrap();
        let common = Arc::new(Common { lists, defaults, soft_bounce: false });
        let mut milters = Milters::new(&milters(&list, &settings).unwrap()[..1], &common);
        let connect =
            Event::Connect { name: b"[::1]", family: crate::Family::Inet6, port: b"25", address: b"::1" };
        assert_eq!(milters.event(&connect, &Nothing), Response::Continue);
        assert_eq!(milters.active(), 1);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let receiving = std::thread::spawn(move || {
            let mut input = BufReader::new(&theirs);
            let settings = Settings::default();
            let mut there =
                Milters::receive(1, &mut input, "cleanup socket", &theirs, &settings, false).unwrap();
            let milter = there.iter_mut().next().unwrap();
            assert_eq!(milter.conversation.state, State::Envelope);
            assert_eq!(milter.conversation.agreement.lists.as_ref().unwrap().connect, b"j");
            assert_eq!(
                milter.event(&Event::Header { name: b"a", value: b" b" }, &Nothing),
                Response::Continue
            );
            assert_eq!(milter.end_of_message(&Nothing, &mut |_| {}), Response::Continue);
            assert_eq!(there.common().defaults.get(b"b"), Some(&b"2"[..]));
        });
        milters.send(&mut Stream::new(ours, "public/cleanup")).unwrap();
        receiving.join().unwrap();
        milters.abort();
        milters.disconnect();
        assert_eq!(serving.join().unwrap(), b"ODCDLDEAQ");
    }

    /// What Postfix 3.7.11's smtpd wrote, for a filter that wants no answers and two lists of macros.
    const RECORDED: &[u8] = b"conn_macros\0j {daemon_name} {daemon_addr} v _\0helo_macros\0{tls_version} {cipher}\0\
mail_macros\0i {auth_type}\0rcpt_macros\0i {rcpt_addr} {rcpt_host} {rcpt_mailer}\0data_macros\0i\0eoh_macros\0i\0\
eod_macros\0i\0unk_macros\0\0size\x002\0{\0{c}\0d e\0{a}\0b\0}\0milter_name\0inet:127.0.0.1:39251\0\
milter_version\x006\0milter_actions\x00511\0milter_events\x001044608\0milter_non_events\x000\0milter_state\x004\0\
milter_conn_timeout\x0030\0milter_cmd_timeout\x0030\0milter_msg_timeout\x00300\0milter_action\0tempfail\0\
milter_macro_list\x001\0conn_macros\0j\0helo_macros\0\0mail_macros\0\0rcpt_macros\0\0data_macros\0\0eoh_macros\0\0\
eod_macros\0i {x}\0unk_macros\0\0\0";

    #[test]
    fn what_postfix_hands_over_is_understood_and_written_alike() {
        let dummy = b"dummy\0\0\0";
        let (mut smtpd, cleanup) = UnixStream::pair().unwrap();
        let receiving = std::thread::spawn(move || {
            let mut input = BufReader::new(&cleanup);
            Milters::receive(1, &mut input, "cleanup socket", &cleanup, &Settings::default(), false).unwrap()
        });
        smtpd.write_all(RECORDED).unwrap();
        let mut answer = [0; 8];
        smtpd.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, dummy);
        let (filter, _) = UnixStream::pair().unwrap();
        sys::pass::send(&smtpd, &filter).unwrap();
        smtpd.read_exact(&mut answer).unwrap();
        let mut status = [0; 10];
        smtpd.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"status\x000\0\0");
        let mut milters = receiving.join().unwrap();
        assert_eq!(milters.common().defaults.get(b"c"), Some(&b"d e"[..]));
        let agreement = &milters.milters()[0].conversation.agreement;
        let common = &milters.common().lists;
        let list = |stage| agreement.lists.as_ref().unwrap().list_or(common, stage);
        assert_eq!(list(crate::Stage::EndOfData), b"i {x}");
        assert_eq!(list(crate::Stage::EndOfHeaders), b"i", "as configured");
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let reading = std::thread::spawn(move || {
            let mut written = vec![0; RECORDED.len()];
            theirs.read_exact(&mut written).unwrap();
            theirs.write_all(dummy).unwrap();
            sys::pass::receive(&theirs).unwrap();
            theirs.write_all(dummy).unwrap();
            theirs.write_all(b"status\x000\0\0").unwrap();
            written
        });
        milters.send(&mut Stream::new(ours, "public/cleanup")).unwrap();
        assert_eq!(reading.join().unwrap().escape_ascii().to_string(), RECORDED.escape_ascii().to_string());
    }
}
