//! Open connections that somebody else may go on with (spec trivial-rewrite 24).
//!
//! A connection is kept under the label of its endpoint, with a property: text that tells who takes it what he must know.
//! The label of a destination leads to endpoints, with a property of its own. Labels and properties are the clients'
//! affair. A connection is given out once; what has been there for its time is dropped. There is no clock in here.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Instant;

/// A connection that was kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept<T> {
    /// What is to be known of it.
    pub property: Vec<u8>,
    /// The connection.
    pub connection: T,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Destinations.
    pub destinations: usize,
    /// Endpoints.
    pub endpoints: usize,
    /// Connections.
    pub connections: usize,
}

#[derive(Debug)]
struct Entry<T> {
    number: u64,
    until: Instant,
    what: T,
}

#[derive(Debug, PartialEq, Eq)]
struct Way {
    property: Vec<u8>,
    endpoint: Vec<u8>,
}

/// Where an entry is, for when its time is over.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Endpoint(Vec<u8>),
    Destination(Vec<u8>),
}

/// Connections by endpoint, and endpoints by destination.
#[derive(Debug)]
pub struct Connections<T> {
    endpoints: HashMap<Vec<u8>, VecDeque<Entry<Kept<T>>>>,
    destinations: HashMap<Vec<u8>, VecDeque<Entry<Way>>>,
    connections: usize,
    made: u64,
    /// An entry that is gone or was renewed is here too: it is looked at when its time has come.
    ends: BinaryHeap<Reverse<(Instant, u64, Place)>>,
}

impl<T> Default for Connections<T> {
    fn default() -> Self {
        Self {
            endpoints: HashMap::new(),
            destinations: HashMap::new(),
            connections: 0,
            made: 0,
            ends: BinaryHeap::new(),
        }
    }
}

impl<T> Connections<T> {
    /// Keeps a connection.
    pub fn save_endpoint(&mut self, label: &[u8], property: Vec<u8>, connection: T, until: Instant) {
        let number = self.number(until, Place::Endpoint(label.to_vec()));
        let entry = Entry { number, until, what: Kept { property, connection } };
        self.endpoints.entry(label.to_vec()).or_default().push_back(entry);
        self.connections += 1;
    }

    /// Says that an endpoint is one of a destination's; if that was said before it holds for longer now.
    pub fn save_destination(&mut self, label: &[u8], property: Vec<u8>, endpoint: &[u8], until: Instant) {
        let number = self.number(until, Place::Destination(label.to_vec()));
        let what = Way { property, endpoint: endpoint.to_vec() };
        let ways = self.destinations.entry(label.to_vec()).or_default();
        match ways.iter_mut().find(|way| way.what == what) {
            Some(way) => (way.number, way.until) = (number, until),
            None => ways.push_back(Entry { number, until, what }),
        }
    }

    /// Takes the connection out that has been kept longest for an endpoint (observed, 3.7.11).
    pub fn find_endpoint(&mut self, label: &[u8]) -> Option<Kept<T>> {
        let kept = self.endpoints.get_mut(label)?;
        let found = kept.pop_front();
        if kept.is_empty() {
            self.endpoints.remove(label);
        }
        self.connections -= usize::from(found.is_some());
        found.map(|entry| entry.what)
    }

    /// Takes a connection out that a destination leads to, by the endpoint that was said first of those that have one; the
    /// destination's property comes first.
    pub fn find_destination(&mut self, label: &[u8]) -> Option<(Vec<u8>, Kept<T>)> {
        let ways = self.destinations.get(label)?;
        let way = ways.iter().find(|way| self.endpoints.contains_key(&way.what.endpoint))?;
        let (property, endpoint) = (way.what.property.clone(), way.what.endpoint.clone());
        self.find_endpoint(&endpoint).map(|kept| (property, kept))
    }

    /// When the next entry may have to go.
    #[must_use]
    pub fn next_end(&self) -> Option<Instant> {
        self.ends.peek().map(|Reverse((until, ..))| *until)
    }

    /// Drops what has been there for its time.
    pub fn expire(&mut self, now: Instant) {
        while let Some(Reverse((until, ..))) = self.ends.peek()
            && *until <= now
        {
            let Some(Reverse((_, number, place))) = self.ends.pop() else { return };
            match place {
                Place::Endpoint(label) => self.connections -= drop_one(&mut self.endpoints, &label, number),
                Place::Destination(label) => {
                    drop_one(&mut self.destinations, &label, number);
                }
            }
        }
    }

    /// How much is kept.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            destinations: self.destinations.len(),
            endpoints: self.endpoints.len(),
            connections: self.connections,
        }
    }

    fn number(&mut self, until: Instant, place: Place) -> u64 {
        self.made += 1;
        self.ends.push(Reverse((until, self.made, place)));
        self.made
    }
}

/// Drops an entry, unless it is gone; how many went.
fn drop_one<T>(lists: &mut HashMap<Vec<u8>, VecDeque<Entry<T>>>, label: &[u8], number: u64) -> usize {
    let Some(list) = lists.get_mut(label) else { return 0 };
    let before = list.len();
    list.retain(|entry| entry.number != number);
    let gone = before - list.len();
    if list.is_empty() {
        lists.remove(label);
    }
    gone
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn kept(property: &[u8], connection: u32) -> Kept<u32> {
        Kept { property: property.to_vec(), connection }
    }

    #[test]
    fn the_first_kept_is_given_first_and_once() {
        let mut all = Connections::default();
        let until = Instant::now();
        all.save_endpoint(b"e", b"1".to_vec(), 1, until);
        all.save_endpoint(b"e", b"2".to_vec(), 2, until);
        all.save_destination(b"d", b"p".to_vec(), b"none", until);
        all.save_destination(b"d", b"q".to_vec(), b"e", until);
        all.save_destination(b"d", b"r".to_vec(), b"none", until);
        assert_eq!(all.counts(), Counts { destinations: 1, endpoints: 1, connections: 2 });
        assert_eq!(all.find_destination(b"d"), Some((b"q".to_vec(), kept(b"1", 1))));
        assert_eq!(all.find_endpoint(b"e"), Some(kept(b"2", 2)));
        assert_eq!((all.find_endpoint(b"e"), all.find_destination(b"d")), (None, None));
        assert_eq!(all.counts(), Counts { destinations: 1, endpoints: 0, connections: 0 });
    }

    #[test]
    fn times() {
        let mut all = Connections::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        all.save_endpoint(b"e", Vec::new(), 1, at(2));
        all.save_endpoint(b"e", Vec::new(), 2, at(1));
        all.save_destination(b"d", Vec::new(), b"e", at(1));
        all.save_destination(b"d", Vec::new(), b"e", at(3));
        assert_eq!(all.next_end(), Some(at(1)));
        all.expire(at(1));
        assert_eq!(all.counts(), Counts { destinations: 1, endpoints: 1, connections: 1 });
        assert_eq!(all.find_destination(b"d"), Some((Vec::new(), kept(b"", 1))));
        all.expire(at(2));
        assert_eq!(all.counts().destinations, 1, "it was renewed");
        all.expire(at(3));
        assert_eq!((all.counts(), all.next_end()), (Counts::default(), None));
    }
}
