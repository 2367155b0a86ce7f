//! What a load balancer, or somebody who says to be one, says about a client.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smtp::client::Families;
use smtp::haproxy;

fuzz_target!(|input: &[u8]| {
    for families in [Families::All, Families::Ipv4, Families::Ipv6] {
        match haproxy::parse(input, families) {
            Ok((_, length)) => assert!(length <= input.len().min(haproxy::LONGEST)),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
