//! The posttls-finger command.

#![forbid(unsafe_code)]

fn main() {
    smtp_agent::finger()
}
