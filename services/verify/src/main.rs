//! The address verification service.

#![forbid(unsafe_code)]

fn main() {
    server::multi::<verify::Verify>("verify")
}
