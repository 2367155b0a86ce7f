//! The client's side of a handshake: a step at a time, or to its end within a time limit.

use std::io::{ErrorKind, Read as _};
use std::time::Duration;

use rustls::ClientConnection;

use super::{Client, Outcome, Peer, Seen};
use crate::error::HandshakeError;
use crate::handshake::{Progress, to_its_end};
use crate::socket::{AtOnce, Socket};

/// A handshake under way.
pub struct Handshake<'h> {
    client: &'h Client,
    peer: Peer<'h>,
    /// Nothing once it has ended, one way or the other.
    connection: Option<Box<ClientConnection>>,
    seen: Seen,
}

impl std::fmt::Debug for Handshake<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Handshake").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl<'h> Handshake<'h> {
    /// A handshake with this server, to which nothing has been sent.
    ///
    /// # Errors
    /// The settings allow none.
    pub fn new(client: &'h Client, peer: Peer<'h>) -> Result<Self, HandshakeError> {
        let connection = client.connection(&peer)?;
        Ok(Self { client, peer, connection: Some(Box::new(connection)), seen: Seen::default() })
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
    pub fn advance(&mut self, socket: &mut Socket) -> Result<Progress<Outcome>, HandshakeError> {
        let mut connection = self.connection.take().ok_or(HandshakeError::Lost)?;
        let waits = self.seen.during(|| step(&mut connection, socket))?;
        if let Some(progress) = waits {
            self.connection = Some(connection);
            return Ok(progress);
        }
        let outcome = self.client.describe(&connection, self.seen, self.peer.demand);
        socket.protect((*connection).into());
        Ok(Progress::Done(Box::new(outcome)))
    }
}

/// Takes and sends what it can; what it waits for, or none at the end.
fn step(
    connection: &mut ClientConnection,
    socket: &Socket,
) -> Result<Option<Progress<Outcome>>, HandshakeError> {
    let mut tcp = AtOnce(socket.tcp());
    loop {
        while connection.wants_write() {
            match connection.write_tls(&mut tcp) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(Progress::WantsWrite)),
                Err(error) => {
                    // A peer that has gone may have said why.
                    let _ = connection.read_tls(&mut tcp.by_ref());
                    connection.process_new_packets()?;
                    return Err(error.into());
                }
            }
        }
        if !connection.is_handshaking() {
            return Ok(None);
        }
        match connection.read_tls(&mut tcp.by_ref()) {
            Ok(0) => return Err(HandshakeError::Lost),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(Progress::WantsRead)),
            Err(error) => return Err(error.into()),
        }
        if let Err(error) = connection.process_new_packets() {
            // The alert that says why.
            let _ = connection.write_tls(&mut tcp);
            return Err(error.into());
        }
    }
}
