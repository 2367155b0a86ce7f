//! A trigger server that logs what it receives. For the tests of the skeleton.

#![forbid(unsafe_code)]

use server::{EventLoop, Fatal, Service, Start, TriggerService};

struct Probe;

impl Service for Probe {
    fn configure(_: &Start) -> Result<Self, Fatal> {
        Ok(Self)
    }
}

impl TriggerService for Probe {
    fn triggered(&mut self, request: &[u8], _: &mut EventLoop, start: &Start) {
        log::info!("{} triggered: {request:?}", start.service_name);
    }
}

fn main() {
    server::trigger::<Probe>("probe_trigger")
}
