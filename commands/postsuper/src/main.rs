//! The postsuper command.

#![forbid(unsafe_code)]

fn main() {
    postsuper::run();
}
