//! The showq service.

#![forbid(unsafe_code)]

fn main() {
    server::single::<showq::Showq>("showq")
}
