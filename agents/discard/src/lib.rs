//! The delivery agent that throws mail away (spec local-delivery 20): each recipient is told to have got it.
//!
//! The destination is `[X.Y.Z ]text`, what is logged. Nothing is read of the message.

#![forbid(unsafe_code)]

use delivery::{Agent, Delivery, Status};
use ipc::delivery::Completion;
use server::{Fatal, Start};

/// Runs the program.
pub fn main() -> ! {
    delivery::run::<Discard>("discard")
}

struct Discard;

impl Agent for Discard {
    fn configure(start: &Start) -> Result<Self, Fatal> {
        start.no_arguments()?;
        Ok(Self)
    }

    fn deliver(&self, delivery: &Delivery<'_>) -> Completion {
        let status = Status::split(delivery.nexthop(), "2.0.0");
        delivery.each(|recipient| delivery.sent(recipient, "none", &status))
    }
}
