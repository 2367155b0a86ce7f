//! The postqueue command.

#![forbid(unsafe_code)]

fn main() {
    postqueue::run();
}
