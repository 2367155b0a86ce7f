//! Status messages to master (spec master 2.8).

use std::io;
use std::os::fd::OwnedFd;

use crate::start::Fatal;

/// Number of the status channel as master leaves it.
const STATUS: i32 = 5;
const TAKEN: i32 = 0;
const AVAILABLE: i32 = 1;

/// The child's end of the status channel. It is never read: master sends nothing, and when it becomes
/// readable master has gone, or wants its children replaced.
#[derive(Debug)]
pub(crate) struct StatusChannel {
    fd: OwnedFd,
    pid: u32,
    generation: u32,
}

impl StatusChannel {
    pub(crate) fn inherit() -> io::Result<OwnedFd> {
        let fd = sys::fd::inherited(STATUS)?;
        sys::fd::set_cloexec(&fd, true)?;
        Ok(fd)
    }

    pub(crate) fn new(fd: OwnedFd, generation: u32) -> Self {
        Self { fd, pid: std::process::id(), generation }
    }

    /// Tells master that this process is busy. Its end does not concern the client that waits.
    pub(crate) fn taken(&self) {
        let _ = self.send(TAKEN);
    }

    /// Tells master that this process is idle; false when master is gone.
    pub(crate) fn available(&self) -> bool {
        self.send(AVAILABLE).is_ok()
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    fn send(&self, status: i32) -> io::Result<()> {
        log::debug!("master_notify: status {status}");
        let record = record(self.pid, self.generation, status);
        match sys::fd::write(&self.fd, &record)? {
            count if count == record.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }
}

/// pid, generation, status: four bytes each in the machine's order.
fn record(pid: u32, generation: u32, status: i32) -> [u8; 12] {
    let mut record = [0; 12];
    record[..4].copy_from_slice(&pid.to_ne_bytes());
    record[4..8].copy_from_slice(&generation.to_ne_bytes());
    record[8..].copy_from_slice(&status.to_ne_bytes());
    record
}

/// The value of `GENERATION`: decimal digits, read as octal. Absent: 0.
pub(crate) fn generation(text: Option<&str>) -> Result<u32, Fatal> {
    let Some(text) = text else { return Ok(0) };
    let bad = || Fatal::new(format!("bad generation: {text}"));
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    // sscanf("%o") stops at the first digit that is not octal.
    let octal = text.split(['8', '9']).next().unwrap_or_default();
    u32::from_str_radix(octal, 8).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record() {
        if cfg!(target_endian = "little") {
            assert_eq!(record(0x1234, 8, AVAILABLE), [0x34, 0x12, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0]);
        }
    }

    #[test]
    fn the_generation_is_octal_text() {
        assert_eq!(generation(None), Ok(0));
        assert_eq!(generation(Some("10")), Ok(8));
        assert_eq!(generation(Some("x")).unwrap_err().to_string(), "bad generation: x");
        assert_eq!(generation(Some("")).unwrap_err().to_string(), "bad generation: ");
    }
}
