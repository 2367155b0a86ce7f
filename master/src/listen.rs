//! The sockets and FIFOs that services are reached by (spec master 2.4).
//!
//! Paths are relative to the queue directory. A path that exists is removed first; access is limited by the
//! directories, so that sockets are open to all. Errors are in Postfix's words.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use config::mastercf::Transport;
use sys::error_text;

use crate::Fatal;
use crate::definition::{Definition, Place};
use crate::network::Network;
use crate::owner::Owner;

/// Length of `sun_path` on Linux, without its NUL.
const LONGEST_PATH: usize = 107;

/// How sockets are made.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// Address settings.
    pub network: &'a Network,
    /// Who owns the paths.
    pub owner: Owner,
    /// `default_process_limit`: the least backlog.
    pub process_limit: u32,
    /// `tcp_windowsize`; 0 leaves the system's.
    pub window: usize,
}

/// Opens what the service listens on, in address order.
///
/// # Errors
/// The text names the address or path and what the system says.
pub fn open(service: &Definition, options: &Options<'_>) -> Result<Vec<OwnedFd>, Fatal> {
    let backlog = service.entry.process_limit.max(options.process_limit);
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    match &service.place {
        Place::Inet(addresses) => {
            let open_one = |address| {
                sys::socket::listen_inet(address, backlog, options.window).map_err(|error| {
                    Fatal(format!("bind {} port {}: {}", address.ip(), address.port(), error_text(&error)))
                })
            };
            addresses.sockets(options.network).map_err(Fatal)?.into_iter().map(open_one).collect()
        }
        Place::Path(path) => {
            let path = Path::new(OsStr::from_bytes(path));
            let made = options.owner.act(|| open_path(service.entry.transport, path, backlog));
            let made = made.map_err(|error| Fatal(format!("set effective ids: {}", error_text(&error))))?;
            Ok(vec![made?])
        }
    }
}

/// What keeps a service from having a path, as far as that shows without making it.
pub(crate) fn check_path(transport: Transport, queue_directory: &Path, path: &Path) -> Result<(), Fatal> {
    check_length(transport, path)?;
    let there = queue_directory.join(path);
    match fs::symlink_metadata(&there) {
        Ok(data) if data.is_dir() => Err(Fatal(format!("remove {}: Is a directory", path.display()))),
        _ if there.parent().is_some_and(Path::is_dir) => Ok(()),
        _ => {
            let what = if transport == Transport::Fifo { "create fifo" } else { "bind" };
            Err(Fatal(format!("{what}: {}: No such file or directory", path.display())))
        }
    }
}

fn check_length(transport: Transport, path: &Path) -> Result<(), Fatal> {
    let datagram = if transport == Transport::UnixDgram { "unix_dgram_listen: " } else { "" };
    if transport != Transport::Fifo && path.as_os_str().len() > LONGEST_PATH {
        return Err(Fatal(format!("{datagram}unix-domain name too long: {}", path.display())));
    }
    Ok(())
}

fn open_path(transport: Transport, path: &Path, backlog: i32) -> Result<OwnedFd, Fatal> {
    check_length(transport, path)?;
    let shown = path.display();
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Fatal(format!("remove {shown}: {}", error_text(&error))));
        }
        _ => {}
    }
    let failed = |what: &'static str| {
        move |error: io::Error| Fatal(format!("{what}: {}: {}", path.display(), error_text(&error)))
    };
    let mode = |bits| fs::set_permissions(path, Permissions::from_mode(bits)).map_err(failed("chmod"));
    match transport {
        Transport::Fifo => {
            sys::socket::make_fifo(path, 0o622).map_err(failed("create fifo"))?;
            let fifo = sys::socket::open_fifo(path).map_err(failed("open fifo"))?;
            mode(0o622)?;
            Ok(fifo)
        }
        Transport::UnixDgram => {
            let socket = sys::socket::listen_unix_datagram(path).map_err(failed("bind"))?;
            mode(0o666)?;
            Ok(socket)
        }
        Transport::Unix | Transport::Pass | Transport::Inet => {
            let socket = sys::socket::listen_unix(path, backlog).map_err(failed("bind"))?;
            mode(0o666)?;
            Ok(socket)
        }
    }
}
