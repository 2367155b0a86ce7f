//! The postalias command.

#![forbid(unsafe_code)]

fn main() {
    postalias::run();
}
