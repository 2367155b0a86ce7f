//! A connection to a policy server: opened at the first request, kept, tried again when it fails (spec access 9.4).
//!
//! A server that hangs up between two requests is normal, so the first failure of that kind is not worth a line.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ipc::attr::{self, Encoder};
use ipc::client::Stream;
use ipc::policy::read_action;
use metrics::Fault;
use smtp::client::{ConnectError, Families, Socket};

use crate::policy::settings::PolicyService;

/// What Postfix says of a failure that is no system call's.
const NO_REASON: &str = "Application error";

/// The connections of one thread, by the text of the service.
#[derive(Debug)]
pub struct PolicyClients {
    families: Families,
    limit: usize,
    open: HashMap<String, Open>,
}

#[derive(Debug)]
struct Open {
    stream: Stream,
    requests: i32,
    since: Instant,
    used: Instant,
    max_idle: Duration,
    max_ttl: Duration,
    /// An exchange over it came to no end: it is good for nothing, and in the way of the next try.
    is_spoiled: bool,
}

/// Why a try failed, and whether that is worth a line when there is another one.
struct Failure {
    text: String,
    ordinary: bool,
    /// The connection is of no more use.
    spoils: bool,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let ordinary =
            matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::NotFound | ErrorKind::ConnectionReset);
        let timeout = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        let text = if timeout { "Connection timed out".into() } else { sys::error_text(&error) };
        Self { text, ordinary, spoils: true }
    }
}

impl From<attr::Error> for Failure {
    fn from(error: attr::Error) -> Self {
        match error {
            attr::Error::Premature { source: Some(source), .. } => source.into(),
            attr::Error::Timeout { .. } => {
                error.warn();
                io::Error::from(ErrorKind::TimedOut).into()
            }
            // Postfix has no line of its own for this one.
            attr::Error::Closed { .. } => Self { text: NO_REASON.into(), ordinary: true, spoils: true },
            error => {
                error.warn();
                let spoils = !matches!(error, attr::Error::Missing { .. });
                Self { text: NO_REASON.into(), ordinary: true, spoils }
            }
        }
    }
}

impl PolicyClients {
    /// No connections so far, and never more than `limit`.
    pub fn new(families: Families, limit: usize) -> Self {
        Self { families, limit, open: HashMap::new() }
    }

    /// Whether there is a connection to this server.
    pub fn knows(&self, service: &PolicyService) -> bool {
        self.open.contains_key(&service.text)
    }

    /// Closes what has been idle or in use for too long. Between two sessions, not in one.
    pub fn expire(&mut self) {
        self.open
            .retain(|_, open| open.used.elapsed() < open.max_idle && open.since.elapsed() < open.max_ttl);
    }

    /// Sends a request and waits for the action; `None` after the last try, the log says why.
    pub fn ask(&mut self, service: &PolicyService, request: &Encoder) -> Option<Vec<u8>> {
        let settings = &service.settings;
        for count in 1..=settings.try_limit {
            // Postfix lets go of a connection before it tries again, and not after the last try (observed, 3.7.11): the
            // next request fails at once on one that the last has spoiled.
            if count > 1 {
                self.open.remove(&service.text);
            }
            match self.exchange(service, request) {
                Ok(action) => {
                    metrics::fault_over(Fault::Policy, &service.name);
                    return Some(action);
                }
                Err(failure) => {
                    let last = count == settings.try_limit;
                    if last {
                        metrics::fault(Fault::Policy, &service.name, &failure.text);
                    }
                    if last || !failure.ordinary {
                        log::warn!("problem talking to server {}: {}", service.name, failure.text);
                    }
                    if !last {
                        sleep(settings.retry_delay);
                    }
                }
            }
        }
        None
    }

    fn exchange(&mut self, service: &PolicyService, request: &Encoder) -> Result<Vec<u8>, Failure> {
        let kept = self.open.remove(&service.text);
        // Who may try once only would never get another connection.
        if kept.as_ref().is_some_and(|open| open.is_spoiled) && service.settings.try_limit > 1 {
            return Err(Failure { text: NO_REASON.into(), ordinary: true, spoils: true });
        }
        let kept = kept.filter(|open| !open.is_spoiled && !open.stream.is_readable());
        let mut open = match kept {
            Some(open) => open,
            None => {
                if self.open.len() >= self.limit {
                    self.open.clear();
                }
                self.connect(service)?
            }
        };
        let answer = request.clone().send(&mut open.stream).map_err(Failure::from);
        let answer = answer.and_then(|()| Ok(read_action(&mut open.stream, &service.name)?));
        open.is_spoiled = answer.as_ref().is_err_and(|failure| failure.spoils);
        open.requests = open.requests.saturating_add(1);
        open.used = Instant::now();
        let limit = service.settings.request_limit;
        if limit == 0 || open.requests < limit {
            self.open.insert(service.text.clone(), open);
        }
        answer
    }

    fn connect(&self, service: &PolicyService) -> Result<Open, Failure> {
        let settings = &service.settings;
        let socket = match service.endpoint.connect(settings.timeout, self.families) {
            Ok(socket) => socket,
            Err(error) => return Err(no_connection(service, error)),
        };
        // Reading and writing are the same system calls for both kinds of socket.
        let socket = match socket {
            Socket::Tcp(socket) => UnixStream::from(OwnedFd::from(socket)),
            Socket::Unix(socket) => socket,
        };
        let stream = Stream::new(socket, &service.name);
        stream.set_timeout(settings.timeout)?;
        let now = Instant::now();
        Ok(Open {
            stream,
            requests: 0,
            since: now,
            used: now,
            max_idle: settings.max_idle,
            max_ttl: settings.max_ttl,
            is_spoiled: false,
        })
    }
}

fn no_connection(service: &PolicyService, error: ConnectError) -> Failure {
    let failure = match error {
        ConnectError::Io(error) => Failure::from(error),
        ConnectError::NotFound(reason) => {
            log::warn!("host or service {} not found: {reason}", service.name);
            Failure { text: "Cannot assign requested address".into(), ordinary: false, spoils: true }
        }
    };
    log::warn!("connect to {}: {}", service.name, failure.text);
    failure
}
