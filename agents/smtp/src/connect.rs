//! Connections to servers (spec smtp-client 5).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use delivery::Status;
use smtp::client::Socket;

use crate::details::Cause;
use crate::settings::Settings;

/// There is no connection.
#[derive(Debug)]
pub(crate) struct NotConnected {
    pub(crate) status: Status,
    pub(crate) cause: Cause,
}

/// Connects to an address; `name` is the server's, `HOST[ADDRESS]:PORT`.
pub(crate) fn to_address(
    settings: &Settings,
    address: SocketAddr,
    name: &str,
) -> Result<Socket, NotConnected> {
    let source = if address.is_ipv4() { settings.bind_address } else { settings.bind_address6 };
    let connect = |from: Option<IpAddr>| {
        let from = from.map(|from| SocketAddr::new(from, 0));
        sys::socket::connect_inet(address, settings.limits.connect, from)
    };
    let socket = match (connect(source), source) {
        (Err(error), Some(own)) if is_bind_error(&error) => {
            log::warn!("smtp_connect_addr: bind {own}: {}", sys::error_text(&error));
            if settings.must_bind {
                return Err(misconfigured(Status::new("4.4.0", "server configuration error")));
            }
            connect(None)
        }
        (result, _) => result,
    };
    let socket = socket.and_then(|socket| socket.set_nodelay(true).map(|()| socket));
    socket.map(Socket::Tcp).map_err(|error| failure(name, &error))
}

/// Connects to a socket in the file system; `name` is `HOST[PATH]`.
pub(crate) fn to_path(settings: &Settings, path: &Path, name: &str) -> Result<Socket, NotConnected> {
    match sys::socket::connect_unix(path, settings.limits.connect) {
        Ok(socket) => Ok(Socket::Unix(socket)),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            log::warn!("unix-domain name too long: {}", path.display());
            Err(misconfigured(Status::new("4.3.5", "Server configuration error")))
        }
        Err(error) => Err(failure(name, &error)),
    }
}

fn failure(name: &str, error: &io::Error) -> NotConnected {
    let status = Status::new("4.4.1", format!("connect to {name}: {}", sys::error_text(error)));
    NotConnected { status, cause: Cause::of_connecting(error.kind()) }
}

fn misconfigured(status: Status) -> NotConnected {
    NotConnected { status, cause: Cause::Other }
}

/// The address is not one of this host's, or may not be used: nothing that a remote host could cause.
fn is_bind_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput
    )
}
