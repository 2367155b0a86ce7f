//! Names of addresses and addresses of names, as the system's resolver (`/etc/hosts`, DNS and what else
//! `nsswitch.conf` says) gives them. The standard library has only half of it, and hides the error's kind.

use std::ffi::{CStr, CString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ptr;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Asking again later may help: the server did not answer, memory or descriptors ran out.
    pub temporary: bool,
    /// The resolver's own text, such as `Name or service not known`.
    pub text: String,
}

/// Which addresses are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// Both, in the order in which the C library would have them tried (RFC 6724).
    Any,
}

fn failure(code: libc::c_int) -> Failure {
    let temporary = matches!(code, libc::EAI_AGAIN | libc::EAI_MEMORY | libc::EAI_SYSTEM);
    // SAFETY: gai_strerror returns a static, NUL-terminated string for every code.
    let text = unsafe { CStr::from_ptr(libc::gai_strerror(code)) };
    Failure { temporary, text: text.to_string_lossy().into_owned() }
}

/// The name of an address (`getnameinfo`, a name is required).
///
/// # Errors
/// There is none, or the resolver does not answer.
pub fn name_of(address: IpAddr) -> Result<Vec<u8>, Failure> {
    let address = socket2::SockAddr::from(SocketAddr::new(address, 0));
    let mut name = [0 as libc::c_char; 1025];
    let size = libc::socklen_t::try_from(name.len()).unwrap_or(0);
    // SAFETY: the address is a valid socket address of the length told, the buffer is writable for the length told,
    // and no service name is asked for.
    let code = unsafe {
        libc::getnameinfo(
            address.as_ptr().cast(),
            address.len(),
            name.as_mut_ptr(),
            size,
            ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    if code != 0 {
        return Err(failure(code));
    }
    // SAFETY: after success the buffer holds a NUL-terminated string.
    Ok(unsafe { CStr::from_ptr(name.as_ptr()) }.to_bytes().to_vec())
}

/// The addresses of a name (`getaddrinfo`).
///
/// # Errors
/// There are none, or the resolver does not answer.
pub fn addresses_of(name: &[u8], family: Family) -> Result<Vec<IpAddr>, Failure> {
    let Ok(name) = CString::new(name) else {
        return Err(failure(libc::EAI_NONAME));
    };
    // SAFETY: an all-zero addrinfo is a valid set of hints.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_family = match family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
        Family::Any => libc::AF_UNSPEC,
    };
    hints.ai_socktype = libc::SOCK_STREAM;
    let mut list = ptr::null_mut();
    // SAFETY: the name is NUL-terminated, the hints are initialised, and `list` receives a list that is freed below.
    let code = unsafe { libc::getaddrinfo(name.as_ptr(), ptr::null(), &raw const hints, &raw mut list) };
    if code != 0 {
        return Err(failure(code));
    }
    let mut addresses = Vec::new();
    let mut entry: *const libc::addrinfo = list;
    while !entry.is_null() {
        // SAFETY: the list's entries are valid until freeaddrinfo; `entry` is not null.
        let info = unsafe { &*entry };
        addresses.extend(address_in(info));
        entry = info.ai_next;
    }
    // SAFETY: the list came from getaddrinfo and is freed once.
    unsafe { libc::freeaddrinfo(list) };
    Ok(addresses)
}

fn address_in(info: &libc::addrinfo) -> Option<IpAddr> {
    if info.ai_addr.is_null() {
        return None;
    }
    match info.ai_family {
        libc::AF_INET if info.ai_addrlen as usize >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: family and length say that it is a sockaddr_in.
            let address = unsafe { ptr::read_unaligned(info.ai_addr.cast::<libc::sockaddr_in>()) };
            Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr))))
        }
        libc::AF_INET6 if info.ai_addrlen as usize >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: family and length say that it is a sockaddr_in6.
            let address = unsafe { ptr::read_unaligned(info.ai_addr.cast::<libc::sockaddr_in6>()) };
            Some(IpAddr::V6(Ipv6Addr::from(address.sin6_addr.s6_addr)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost() {
        let addresses = addresses_of(b"localhost", Family::V4).unwrap();
        assert_eq!(addresses, [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        let failure = addresses_of(b"no\0name", Family::V4).unwrap_err();
        assert!(!failure.temporary && !failure.text.is_empty());
    }
}
