//! Addresses that no restriction is for: `postmaster`, and the sender of address probes (spec smtpd trap 17).

use std::time::SystemTime;

use crate::settings::AccessParams;

impl AccessParams {
    /// Accepted without any restriction.
    pub fn is_exempt_recipient(&self, address: &[u8]) -> bool {
        address.eq_ignore_ascii_case(b"postmaster") || self.is_probe_sender(address)
    }

    /// A sender of probes without the time in it; others as they are.
    pub fn plain_sender(&self, sender: Vec<u8>) -> Vec<u8> {
        match self.probe_sender() {
            Some(probe) if self.is_probe_sender(&sender) => probe,
            _ => sender,
        }
    }

    /// `address_verify_sender` in full form; `None` when probes have the null sender.
    fn probe_sender(&self) -> Option<Vec<u8>> {
        let probe = self.address_verify_sender.as_bytes();
        if probe.is_empty() || probe == b"<>" {
            None
        } else if probe.contains(&b'@') {
            Some(probe.to_vec())
        } else {
            Some([probe, b"@", self.myorigin.as_bytes()].concat())
        }
    }

    /// Whether probes come from this address, or have lately.
    fn is_probe_sender(&self, address: &[u8]) -> bool {
        let ttl = self.address_verify_sender_ttl;
        self.probe_sender()
            .is_some_and(|probe| ipc::verify::is_probe_sender(address, &probe, ttl, SystemTime::now()))
    }
}
