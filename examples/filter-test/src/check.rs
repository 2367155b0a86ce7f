//! What a check is, and what all checks share.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::{Client, Reply};
use crate::message::Message;
use crate::options::Options;
use crate::sink::Sink;

/// One thing that a filter must get right.
pub struct Check {
    pub name: &'static str,
    pub about: &'static str,
    /// Whether nothing else can be tried when it fails.
    pub vital: bool,
    pub run: fn(&Context) -> Outcome,
}

/// How a check ended.
#[derive(Debug)]
pub enum Outcome {
    /// With a remark, or an empty one.
    Pass(String),
    Fail(String),
    /// It says nothing about this filter, or was not asked for.
    Silent(String),
}

/// What the body of a check returns: `Err` is the reason of a failure.
impl From<Result<String, String>> for Outcome {
    fn from(result: Result<String, String>) -> Outcome {
        match result {
            Ok(note) => Outcome::Pass(note),
            Err(reason) => Outcome::Fail(reason),
        }
    }
}

/// The filter's two neighbours, and what was learned of it.
pub struct Context {
    pub options: Options,
    pub sink: Sink,
    /// The reply to EHLO, line by line.
    pub announced: Mutex<Vec<String>>,
    /// What was wrong with the form of replies.
    pub malformed: Mutex<Vec<String>>,
    tokens: AtomicUsize,
}

impl Context {
    pub fn new(options: Options) -> Result<Context, String> {
        let sink = Sink::start(&options.listen)?;
        let (announced, malformed) = (Mutex::default(), Mutex::default());
        Ok(Context { options, sink, announced, malformed, tokens: AtomicUsize::new(1) })
    }

    /// A connection, greeted.
    pub fn connect(&self) -> Result<Client<'_>, String> {
        let mut client = Client::connect(self)?;
        client.expect_reply("the greeting", 2)?;
        Ok(client)
    }

    /// A connection on which EHLO was said.
    pub fn session(&self) -> Result<Client<'_>, String> {
        let mut client = self.connect()?;
        client.expect("EHLO front.example.com", 2)?;
        Ok(client)
    }

    /// The words behind a keyword of the reply to EHLO, if it is there.
    pub fn extension(&self, keyword: &str) -> Option<Vec<String>> {
        let announced = self.announced.lock().expect("no check panics");
        announced.iter().skip(1).find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            words.next()?.eq_ignore_ascii_case(keyword).then(|| words.map(str::to_ascii_uppercase).collect())
        })
    }

    /// A message with these bytes as content, in the form they have on the wire; its recipient is its own.
    pub fn message(&self, content: impl Into<Vec<u8>>) -> Message {
        let token = format!("t{}", self.tokens.fetch_add(1, Ordering::Relaxed));
        Message::new(token, content.into(), self.extension("XFORWARD").unwrap_or_default())
    }

    /// Sends a message in a session of its own; the reply that decided.
    pub fn send(&self, message: &Message) -> Result<Reply, String> {
        let mut client = self.session()?;
        let reply = client.transaction(message)?;
        client.quit();
        Ok(reply)
    }

    /// Sends a message, which must be accepted and arrive once; what arrived.
    pub fn deliver(&self, message: &Message) -> Result<crate::sink::Delivery, String> {
        let reply = self.send(message)?;
        self.arrived(message, &reply)
    }

    /// The one copy of a message for which this was the reply.
    pub fn arrived(&self, message: &Message, reply: &Reply) -> Result<crate::sink::Delivery, String> {
        if reply.class() != 2 {
            return Err(format!("refused with {reply}"));
        }
        let mut deliveries = self.sink.wait_for(&message.token);
        match deliveries.len() {
            1 => Ok(deliveries.remove(0)),
            0 => Err(format!("answered {reply}, but nothing arrived behind the filter")),
            number => Err(format!("arrived {number} times")),
        }
    }

    /// Nothing of this message may have arrived, also after the filter has had its time.
    pub fn nothing_arrived(&self, message: &Message, when: &str) -> Result<(), String> {
        self.sink.settle();
        match self.sink.taken(&message.token).first() {
            None => Ok(()),
            Some(delivery) => {
                Err(format!("{when}: {} bytes were passed on as a message", delivery.content.len()))
            }
        }
    }
}
