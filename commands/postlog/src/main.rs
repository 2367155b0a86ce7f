//! The postlog command.

#![forbid(unsafe_code)]

fn main() {
    postlog::run();
}
