//! Recipients that checks of the content add.

use std::collections::HashMap;

/// Further recipients, in order and as often as they were named: the duplicate filter decides about those
/// (observed, 3.7.11). Each is kept once.
#[derive(Debug, Default)]
pub(crate) struct Bcc {
    addresses: Vec<Vec<u8>>,
    numbers: HashMap<Vec<u8>, usize>,
    order: Vec<usize>,
}

impl Bcc {
    pub(crate) fn push(&mut self, address: Vec<u8>) {
        let number = *self.numbers.entry(address).or_insert_with_key(|address| {
            self.addresses.push(address.clone());
            self.addresses.len() - 1
        });
        self.order.push(number);
    }

    /// The addresses.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.order.iter().filter_map(|number| self.addresses.get(*number)).map(Vec::as_slice)
    }
}
