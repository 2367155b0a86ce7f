//! The postdrop command.

#![forbid(unsafe_code)]

fn main() {
    postdrop::run();
}
