//! The proxymap service.

#![forbid(unsafe_code)]

fn main() -> ! {
    server::multi::<proxymap::Proxymap>("proxymap")
}
