//! Keys and caches of TLS sessions.

#![forbid(unsafe_code)]

fn main() {
    server::multi::<tlsmgr::Tlsmgr>("tlsmgr")
}
