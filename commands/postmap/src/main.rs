//! The postmap command.

#![forbid(unsafe_code)]

fn main() {
    postmap::run();
}
