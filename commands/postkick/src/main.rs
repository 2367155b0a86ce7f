//! Sends a request to a mail service.

#![forbid(unsafe_code)]

fn main() {
    postkick::main()
}
