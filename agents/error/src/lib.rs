//! The delivery agents that return mail (service `error`) or put it off (`retry`); spec local-delivery 19.
//!
//! The destination is `[X.Y.Z ]text`, the reason. Nothing is read of the message.

#![forbid(unsafe_code)]

use delivery::{Agent, Delivery, Status};
use ipc::delivery::Completion;
use server::{Fatal, Start};

/// Runs the program.
pub fn main() -> ! {
    delivery::run::<Refusal>("error")
}

/// What becomes of all mail, by the name of the service.
#[derive(Clone, Copy)]
enum Refusal {
    Bounce,
    Defer,
}

impl Agent for Refusal {
    fn configure(start: &Start) -> Result<Self, Fatal> {
        start.no_arguments()?;
        match start.service_name.as_str() {
            "error" => Ok(Self::Bounce),
            "retry" => Ok(Self::Defer),
            other => Err(Fatal::new(format!("bad error service name: {other}"))),
        }
    }

    fn deliver(&self, delivery: &Delivery<'_>) -> Completion {
        match self {
            Self::Bounce => {
                let status = Status::split(delivery.nexthop(), "5.0.0");
                delivery.each(|recipient| delivery.bounced(recipient, "none", &status))
            }
            Self::Defer => {
                let status = Status::split(delivery.nexthop(), "4.0.0");
                delivery.each(|recipient| delivery.deferred(recipient, "none", &status))
            }
        }
    }
}
