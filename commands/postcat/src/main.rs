//! The postcat command.

#![forbid(unsafe_code)]

fn main() {
    postcat::run();
}
