//! The delivery agent that sends mail on.

#![forbid(unsafe_code)]

fn main() {
    smtp_agent::deliver()
}
