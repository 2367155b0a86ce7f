//! Variable envelope return paths: a sender for each recipient, from which it can be told (spec qmgr 22).

use ipc::delivery::Recipient;

/// `prefix@origin` and a recipient `user@domain`, with the delimiters `+=`: `prefix+user=domain@origin`.
pub(crate) fn sender(sender: &[u8], recipient: &Recipient, delimiters: &[u8]) -> Vec<u8> {
    let to = if recipient.original.is_empty() { &recipient.address } else { &recipient.original };
    let [first, second] = delimiters else { return sender.to_vec() };
    let (prefix, origin) = split(sender);
    let (user, domain) = split(to);
    let mut whole = [prefix, &[*first], user].concat();
    if let Some(domain) = domain {
        whole.push(*second);
        whole.extend_from_slice(domain);
    }
    if let Some(origin) = origin {
        whole.push(b'@');
        whole.extend_from_slice(origin);
    }
    whole
}

/// At the last `@`.
fn split(address: &[u8]) -> (&[u8], Option<&[u8]>) {
    match address.iter().rposition(|&byte| byte == b'@') {
        Some(at) => (&address[..at], Some(&address[at + 1..])),
        None => (address, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders() {
        for (from, original, address, expected) in [
            ("joe@tr.example", "", "bad1@vm.example", "joe+bad1=vm.example@tr.example"),
            ("joe@tr.example", "one@a.test", "two@b.test", "joe+one=a.test@tr.example"),
            ("joe", "", "user", "joe+user"),
            ("joe", "", "user@d.test", "joe+user=d.test"),
        ] {
            let recipient =
                Recipient { original: original.into(), address: address.into(), ..Recipient::default() };
            assert_eq!(sender(from.as_bytes(), &recipient, b"+="), expected.as_bytes(), "{from} {address}");
        }
    }
}
