//! What conversations with agents and bounce services have in common: each begins with an announcement.

use std::io;

use ipc::announce::Protocol;
use ipc::channel::{Channel, Received};
use server::{Interest, Token};

use crate::Turn;

/// Connects to a service, whose announcement is waited for under this token.
pub(crate) fn open(path: &str, token: u64, turn: &mut Turn<'_>) -> io::Result<Channel> {
    let channel = Channel::connect(path)?;
    turn.events.watch_arrivals(&channel, Token(token), Interest::Read)?;
    Ok(channel)
}

/// The next list, once it is there; an empty one at the end of the stream.
pub(crate) fn list(channel: &mut Channel) -> io::Result<Option<Vec<u8>>> {
    Ok(match channel.receive()? {
        Received::Nothing => None,
        Received::List(list) => Some(list),
        Received::End => Some(Vec::new()),
    })
}

/// Whether a list announces this protocol; what is wrong with it is logged.
pub(crate) fn is_announcement(list: &[u8], protocol: Protocol, name: &str) -> bool {
    match protocol.expect(&mut &*list, name) {
        Ok(()) => true,
        Err(error) => {
            error.warn();
            false
        }
    }
}

/// What to wait for: room for what is left to be sent, or else the answer.
pub(crate) fn interest(channel: &Channel) -> Interest {
    if channel.wants_write() { Interest::Write } else { Interest::Read }
}
