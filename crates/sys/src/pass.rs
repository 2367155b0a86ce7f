//! Passing an open descriptor over a UNIX stream socket (spec ipc 2.6, master 3.10).
//!
//! On the wire: one data byte, value NUL, with one `SCM_RIGHTS` message of one descriptor.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags};

/// Sends a duplicate of `what` over `socket`.
///
/// # Errors
/// What `sendmsg` says.
pub fn send(socket: impl AsFd, what: impl AsFd) -> io::Result<()> {
    let rights = [what.as_fd().as_raw_fd()];
    let control = [ControlMessage::ScmRights(&rights)];
    let payload = [IoSlice::new(&[0])];
    nix::sys::socket::sendmsg::<()>(
        socket.as_fd().as_raw_fd(),
        &payload,
        &control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    Ok(())
}

/// Receives one descriptor from `socket`, close-on-exec, and takes the byte that carries it.
///
/// # Errors
/// What `recvmsg` says; `UnexpectedEof` at end of stream; `InvalidData` when the byte came without exactly
/// one descriptor.
pub fn receive(socket: impl AsFd) -> io::Result<OwnedFd> {
    let mut byte = [0_u8; 1];
    let mut payload = [IoSliceMut::new(&mut byte)];
    // Room for a few, so that surplus descriptors arrive and can be closed instead of being lost track of.
    let mut space = nix::cmsg_space!([RawFd; 4]);
    let message = nix::sys::socket::recvmsg::<()>(
        socket.as_fd().as_raw_fd(),
        &mut payload,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut received = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            for number in numbers {
                // SAFETY: the kernel has just made this number in our table; nobody else knows it.
                received.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
    }
    if message.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match (received.pop(), received.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "no descriptor in message")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_descriptor_crosses_and_the_stream_goes_on() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let (reader, writer) = crate::fd::pipe().unwrap();
        send(&here, &writer).unwrap();
        here.write_all(b"next").unwrap();
        drop(writer);
        let passed = receive(&there).unwrap();
        crate::fd::write(&passed, b"x").unwrap();
        let mut buffer = [0; 4];
        assert_eq!(crate::fd::read(&reader, &mut buffer).unwrap(), 1);
        there.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"next");
        here.write_all(b"y").unwrap();
        assert_eq!(receive(&there).unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(here);
        assert_eq!(receive(&there).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
