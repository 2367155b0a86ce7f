//! The postconf command.

#![forbid(unsafe_code)]

fn main() {
    postconf::run();
}
