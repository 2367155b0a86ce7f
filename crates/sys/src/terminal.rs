//! A terminal that shows a screen: its size, and input key by key.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

nix::ioctl_read_bad!(
    /// Asks a terminal for its size.
    window_size, libc::TIOCGWINSZ, libc::winsize);

/// Columns and rows; nothing when the descriptor is no terminal, or does not know.
#[must_use]
pub fn size(fd: impl AsFd) -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call fills a structure of its own type, which lives longer than the call.
    let asked = unsafe { window_size(fd.as_fd().as_raw_fd(), &raw mut size) };
    (asked.is_ok() && size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// A terminal whose input comes key by key, not echoed, signals of keys included, until this is dropped.
#[derive(Debug)]
pub struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    /// Begins that.
    ///
    /// # Errors
    /// It is no terminal.
    pub fn begin(terminal: impl AsFd) -> io::Result<Self> {
        let terminal = terminal.as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&terminal, SetArg::TCSADRAIN, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // It may be gone.
        let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
    }
}
