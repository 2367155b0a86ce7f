//! The client side of saslauthd's protocol: four counted strings (login, password, service, realm) there, one back.
//! A count has two bytes, the higher first. The answer begins with `OK`, or it is a no (observed, saslauthd 2.1.28).

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use sys::socket::connect_unix;

use super::fault::Fault;

/// For the whole question: a daemon that asks PAM takes its time to say no.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// What is read of an answer.
const ANSWER_LIMIT: usize = 1024;

/// Asks whether this is the password.
pub(super) fn verify(socket: &Path, fields: [&[u8]; 4]) -> Result<(), Fault> {
    let mut request = Vec::new();
    for field in fields {
        let length = u16::try_from(field.len()).map_err(|_| Fault::Protocol)?;
        request.extend(length.to_be_bytes());
        request.extend_from_slice(field);
    }
    let failed = |text: &str| Fault::Failure.because(text);
    let deadline = Instant::now() + TIME_LIMIT;
    let mut stream = connect_unix(socket, Some(TIME_LIMIT)).map_err(|error| {
        Fault::Failure
            .because(format_args!("cannot connect to saslauthd server: {}", sys::error_text(&error)))
    })?;
    let limit = |stream: &std::os::unix::net::UnixStream| {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        stream.set_read_timeout(Some(left))?;
        stream.set_write_timeout(Some(left))
    };
    limit(&stream).and_then(|()| stream.write_all(&request)).map_err(|_| failed("write failed"))?;
    let mut read = |into: &mut [u8]| {
        let mut done = 0;
        while done < into.len() {
            limit(&stream)?;
            match stream.read(&mut into[done..]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Ok(length) => done += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    let mut count = [0; 2];
    read(&mut count).map_err(|_| failed("size read failed"))?;
    let count = usize::from(u16::from_be_bytes(count)).min(ANSWER_LIMIT);
    if count < 2 {
        return Err(failed("bad response from saslauthd"));
    }
    let mut answer = vec![0; count];
    read(&mut answer).map_err(|_| failed("read failed"))?;
    if answer.starts_with(b"OK") { Ok(()) } else { Err(Fault::Authentication) }
}
