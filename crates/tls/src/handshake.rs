//! The server's side of a handshake: a step at a time, or to its end within a time limit.
//!
//! [`Handshake::advance`] waits for nobody: it takes and sends what it can, and says what it waits for, so that an event
//! loop can run many. [`Handshake::run`] waits, for a session that has a thread of its own.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::server::{Accepted, Acceptor};
use rustls::{HandshakeKind, ServerConnection};

use crate::error::HandshakeError;
use crate::hello::Hellos;
use crate::server::{Outcome, Peer, Server, Signatures};
use crate::server_name::Hiding;
use crate::socket::{AtOnce, Socket};

/// What a handshake has come to.
#[derive(Debug)]
pub enum Progress<O = Outcome> {
    /// It goes on when there is something to read.
    WantsRead,
    /// It goes on when there is room to write.
    WantsWrite,
    /// TLS is around the socket.
    Done(Box<O>),
}

/// A handshake under way.
pub struct Handshake<'h> {
    server: &'h Server,
    peer: &'h Peer<'h>,
    phase: Phase,
    hellos: Hellos,
    hiding: Hiding,
    signatures: Signatures,
    server_name: Option<String>,
}

enum Phase {
    /// The client's first message is awaited.
    Hello(Box<Acceptor>),
    /// Keys are agreed on.
    Agreeing(Box<ServerConnection>),
    /// It has ended, one way or the other.
    Over,
}

impl std::fmt::Debug for Handshake<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Handshake").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl<'h> Handshake<'h> {
    /// A handshake with this client, of which nothing has been read.
    ///
    /// # Errors
    /// The settings allow none.
    pub fn new(server: &'h Server, peer: &'h Peer<'h>) -> Result<Self, HandshakeError> {
        server.check(peer)?;
        Ok(Self {
            server,
            peer,
            phase: Phase::Hello(Box::default()),
            hellos: Hellos::new(),
            hiding: Hiding::default(),
            signatures: Signatures::default(),
            server_name: None,
        })
    }

    /// Runs it to its end, and puts TLS around the socket.
    ///
    /// # Errors
    /// There is no session; the connection is of no use any more.
    pub fn run(mut self, socket: &mut Socket, limit: Duration) -> Result<Outcome, HandshakeError> {
        to_its_end(socket, limit, |socket| self.advance(socket))
    }

    /// Does what can be done without waiting.
    ///
    /// # Errors
    /// There is no session; the connection is of no use any more.
    pub fn advance(&mut self, socket: &mut Socket) -> Result<Progress, HandshakeError> {
        let mut hiding = std::mem::take(&mut self.hiding);
        let outcome = hiding.during(|| self.step(socket));
        self.hiding = hiding;
        outcome
    }

    fn step(&mut self, socket: &mut Socket) -> Result<Progress, HandshakeError> {
        loop {
            match std::mem::replace(&mut self.phase, Phase::Over) {
                Phase::Hello(mut acceptor) => {
                    let Some(accepted) = self.hello(&mut acceptor, socket.tcp())? else {
                        self.phase = Phase::Hello(acceptor);
                        return Ok(Progress::WantsRead);
                    };
                    self.phase = Phase::Agreeing(self.agree(accepted, socket.tcp())?);
                }
                Phase::Agreeing(mut connection) => {
                    let ended = match finish(&mut connection, &mut self.hellos, socket.tcp()) {
                        Ok(Some(progress)) => {
                            self.phase = Phase::Agreeing(connection);
                            return Ok(progress);
                        }
                        Ok(None) => Ok(()),
                        Err(error) => Err(error),
                    };
                    if connection.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest)
                        && let Some(name) = &self.hellos.said().server_name
                    {
                        // Postfix looks the name up for each ClientHello, and says what comes of it (observed, 3.7.11).
                        (self.peer.server_name)(name);
                    }
                    ended?;
                    let mut outcome = self.server.describe(&connection, &self.signatures);
                    outcome.established.server_name = self.server_name.take();
                    socket.protect((*connection).into());
                    return Ok(Progress::Done(Box::new(outcome)));
                }
                Phase::Over => return Err(HandshakeError::Lost),
            }
        }
    }

    /// The client's first message, once it is there.
    fn hello(
        &mut self,
        acceptor: &mut Acceptor,
        tcp: &TcpStream,
    ) -> Result<Option<Accepted>, HandshakeError> {
        loop {
            match acceptor.read_tls(&mut Heard { tcp, hellos: &mut self.hellos }) {
                Ok(0) => return Err(HandshakeError::Lost),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => return Ok(Some(accepted)),
                Ok(None) => {}
                Err((error, mut alert)) => {
                    let _ = alert.write_all(&mut AtOnce(tcp));
                    return Err(error.into());
                }
            }
        }
    }

    /// Chooses the certificate and all else for the client.
    fn agree(
        &mut self,
        accepted: Accepted,
        tcp: &TcpStream,
    ) -> Result<Box<ServerConnection>, HandshakeError> {
        let said = self.hellos.said();
        let (config, name) = self.server.config(&accepted, said, self.peer, &mut self.signatures)?;
        self.server_name = name;
        accepted.into_connection(config).map(Box::new).map_err(|(error, mut alert)| {
            let _ = alert.write_all(&mut AtOnce(tcp));
            error.into()
        })
    }
}

/// Takes steps until there are no more, and waits between them.
pub(crate) fn to_its_end<O>(
    socket: &mut Socket,
    limit: Duration,
    mut advance: impl FnMut(&mut Socket) -> Result<Progress<O>, HandshakeError>,
) -> Result<O, HandshakeError> {
    let until = Instant::now() + limit;
    loop {
        let progress = advance(socket)?;
        let left = until.saturating_duration_since(Instant::now());
        let in_time = match progress {
            Progress::Done(outcome) => return Ok(*outcome),
            _ if left.is_zero() => false,
            Progress::WantsRead => sys::poll::readable(socket.tcp(), Some(left))?,
            Progress::WantsWrite => sys::poll::writable(socket.tcp(), Some(left))?,
        };
        if !in_time {
            return Err(io::Error::from(ErrorKind::TimedOut).into());
        }
    }
}

/// Takes and sends what it can; what it waits for, or none at the end.
fn finish(
    connection: &mut ServerConnection,
    hellos: &mut Hellos,
    tcp: &TcpStream,
) -> Result<Option<Progress>, HandshakeError> {
    loop {
        while connection.wants_write() {
            match connection.write_tls(&mut AtOnce(tcp)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(Progress::WantsWrite)),
                Err(error) => return Err(error.into()),
            }
        }
        if !connection.is_handshaking() {
            return Ok(None);
        }
        match connection.read_tls(&mut Heard { tcp, hellos }) {
            Ok(0) => return Err(HandshakeError::Lost),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(Progress::WantsRead)),
            Err(error) => return Err(error.into()),
        }
        if let Err(error) = connection.process_new_packets() {
            // The alert that says why.
            let _ = connection.write_tls(&mut AtOnce(tcp));
            return Err(error.into());
        }
    }
}

/// What the client sends, looked at on its way to rustls.
struct Heard<'s> {
    tcp: &'s TcpStream,
    hellos: &'s mut Hellos,
}

impl Read for Heard<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let tcp = self.tcp;
        self.hellos.read(buffer, |buffer| AtOnce(tcp).read(buffer))
    }
}
