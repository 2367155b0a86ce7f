//! Variable envelope return paths: a sender for each recipient, from which it can be told (spec qmgr 22).

/// `prefix@origin` and a recipient `user@domain`, with the delimiters `+=`: `prefix+user=domain@origin`. All in internal
/// form; with other than two delimiters the sender stays as it is.
#[must_use]
pub fn verp_sender(sender: &[u8], recipient: &[u8], delimiters: &[u8]) -> Vec<u8> {
    let [first, second] = delimiters else { return sender.to_vec() };
    let at = |address: &[u8]| address.iter().rposition(|byte| *byte == b'@');
    let (prefix, origin) = sender.split_at(at(sender).unwrap_or(sender.len()));
    let mut whole = [prefix, &[*first]].concat();
    match at(recipient) {
        Some(at) => whole.extend([&recipient[..at], &[*second], &recipient[at + 1..]].concat()),
        None => whole.extend_from_slice(recipient),
    }
    whole.extend_from_slice(origin);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders() {
        for (sender, recipient, expected) in [
            ("joe@tr.example", "bad1@vm.example", "joe+bad1=vm.example@tr.example"),
            ("joe@tr.example", "one@a.test", "joe+one=a.test@tr.example"),
            ("joe", "user", "joe+user"),
            ("joe", "user@d.test", "joe+user=d.test"),
        ] {
            let seen = verp_sender(sender.as_bytes(), recipient.as_bytes(), b"+=");
            assert_eq!(seen, expected.as_bytes(), "{sender} {recipient}");
        }
    }
}
