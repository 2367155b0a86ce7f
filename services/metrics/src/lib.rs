//! The metrics service: shows what the mail system has counted, by HTTP (not of Postfix).
//!
//! Where it listens is for master.cf to say, a port or a socket: it is one client, one request, one answer, and the
//! connection's end. The numbers are in memory that all processes share (`metrics`); how much is in the queue is looked up
//! here, when somebody asks and the last look is old enough ([`queues`]).
//!
//! A client has [`TIME_LIMIT`] for its request and for reading the answer, and [`request::LENGTH_LIMIT`] bytes.

#![forbid(unsafe_code)]

mod queues;
pub mod request;

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use metrics::Format;
use queue::QueueDirectory;
use server::{Connection, Fatal, Service, SingleService, Start};

use request::{LENGTH_LIMIT, Reading, Refusal, Request};

/// For a request, and again for its answer.
const TIME_LIMIT: Duration = Duration::from_secs(10);
const PLAIN: &str = "text/plain; charset=utf-8";

/// The service.
#[derive(Debug)]
pub struct Metrics {
    directory: QueueDirectory,
}

impl Service for Metrics {
    fn configure(start: &Start) -> Result<Self, Fatal> {
        start.no_arguments()?;
        Ok(Self { directory: QueueDirectory::configured(start.config.globals()) })
    }
}

impl SingleService for Metrics {
    type Worker = ();

    fn worker(&self, _: &Start) {}

    fn serve(&self, (): &mut (), mut connection: Connection, _: &Start) {
        let outcome = match read(&mut connection) {
            Ok(Some(Ok(request))) => self.answer(&request).send(&mut connection, request.is_head),
            Ok(Some(Err(refusal))) => Answer::refused(&refusal).send(&mut connection, false),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        // Clients come and go; what they do is no news.
        if let Err(error) = outcome {
            log::debug!("client of the metrics service: {}", sys::error_text(&error));
        }
    }
}

/// Reads a request; nothing when the client has gone without one.
fn read(connection: &mut Connection) -> io::Result<Option<Result<Request, Refusal>>> {
    let deadline = Instant::now() + TIME_LIMIT;
    let mut head = Vec::new();
    loop {
        match request::read(&head) {
            Reading::Whole(request) => return Ok(Some(Ok(request))),
            Reading::Refused(refusal) => return Ok(Some(Err(refusal))),
            Reading::Part => {}
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        connection.set_limit(Some(left));
        let mut buffer = [0; 1024];
        let room = buffer.len().min(LENGTH_LIMIT - head.len());
        match connection.read(&mut buffer[..room])? {
            0 => return Ok(None),
            count => head.extend_from_slice(&buffer[..count]),
        }
    }
}

/// What is sent.
struct Answer {
    status: &'static str,
    content_type: &'static str,
    /// A header that this status asks for.
    header: &'static str,
    body: String,
}

impl Answer {
    fn refused(refusal: &Refusal) -> Self {
        let (status, header) = match refusal {
            Refusal::Malformed => ("400 Bad Request", ""),
            Refusal::Method => ("405 Method Not Allowed", "Allow: GET, HEAD\r\n"),
            Refusal::TooLong => ("431 Request Header Fields Too Large", ""),
        };
        Self { status, content_type: PLAIN, header, body: format!("{status}\n") }
    }

    fn plain(status: &'static str, body: &str) -> Self {
        Self { status, content_type: PLAIN, header: "", body: body.to_owned() }
    }

    fn send(&self, connection: &mut Connection, is_head: bool) -> io::Result<()> {
        let Self { status, content_type, header, body } = self;
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n{header}\r\n",
            body.len()
        );
        if !is_head {
            answer.push_str(body);
        }
        connection.set_limit(Some(TIME_LIMIT));
        let deadline = Instant::now() + TIME_LIMIT;
        // A client that takes a byte now and then shall not hold this process either.
        let mut rest = answer.as_bytes();
        while !rest.is_empty() {
            match connection.write(rest)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => rest = rest.get(count..).unwrap_or_default(),
            }
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        connection.flush()
    }
}

impl Metrics {
    fn answer(&self, request: &Request) -> Answer {
        if request.path != "/metrics" {
            return Answer::plain("404 Not Found", "The figures are at /metrics.\n");
        }
        let Some(records) = metrics::records() else {
            return Answer::plain(
                "503 Service Unavailable",
                "Nothing is counted: metrics_enable = yes, and a reload, begin that.\n",
            );
        };
        queues::look(&self.directory, records);
        metrics::show_sessions();
        metrics::show_faults();
        let format = if request.wants_plain { Format::Plain } else { Format::OpenMetrics };
        Answer {
            status: "200 OK",
            content_type: format.content_type(),
            header: "",
            body: metrics::write(records, format, config::version::POSTERN),
        }
    }
}
