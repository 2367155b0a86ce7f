//! The metrics service.

#![forbid(unsafe_code)]

fn main() {
    server::single::<metrics_service::Metrics>("metrics")
}
