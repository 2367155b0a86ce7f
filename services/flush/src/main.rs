//! The fast flush service.

#![forbid(unsafe_code)]

fn main() {
    server::single::<flush::Flush>("flush")
}
