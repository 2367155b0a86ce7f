//! The pickup service.

#![forbid(unsafe_code)]

fn main() -> ! {
    server::trigger::<pickup::service::Pickup>("pickup")
}
