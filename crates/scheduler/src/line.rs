//! The peers that wait for a destination.

use std::collections::BTreeSet;

use crate::model::PeerId;
use crate::place::Place;

/// Peers in the order of the job list. There may be as many destinations as recipients, nearly all of them with one peer; a
/// set would take ten times the memory for that.
#[derive(Debug, Default)]
pub(crate) enum Line {
    #[default]
    Empty,
    One(Place, PeerId),
    Many(BTreeSet<(Place, PeerId)>),
}

impl Line {
    pub(crate) fn insert(&mut self, place: Place, peer: PeerId) {
        match self {
            Self::Empty => *self = Self::One(place, peer),
            Self::One(other_place, other) => {
                *self = Self::Many(BTreeSet::from([(*other_place, *other), (place, peer)]));
            }
            Self::Many(peers) => {
                peers.insert((place, peer));
            }
        }
    }

    pub(crate) fn remove(&mut self, place: Place, peer: PeerId) {
        match self {
            Self::One(..) if self.first() == Some((place, peer)) => *self = Self::Empty,
            Self::Many(peers) => {
                peers.remove(&(place, peer));
                if peers.is_empty() {
                    *self = Self::Empty;
                }
            }
            Self::Empty | Self::One(..) => {}
        }
    }

    pub(crate) fn first(&self) -> Option<(Place, PeerId)> {
        match self {
            Self::Empty => None,
            Self::One(place, peer) => Some((*place, *peer)),
            Self::Many(peers) => peers.first().copied(),
        }
    }

    /// All, in order.
    pub(crate) fn peers(&self) -> Vec<PeerId> {
        match self {
            Self::Empty => Vec::new(),
            Self::One(_, peer) => vec![*peer],
            Self::Many(peers) => peers.iter().map(|&(_, peer)| peer).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use slotmap::SlotMap;

    use super::*;

    #[test]
    fn one_and_many_are_in_order() {
        let mut ids: SlotMap<PeerId, ()> = SlotMap::with_key();
        let peers = [(); 3].map(|()| ids.insert(()));
        let second = Place::FIRST.after();
        let mut line = Line::default();
        assert_eq!((line.first(), line.peers()), (None, Vec::new()));
        line.insert(second, peers[0]);
        line.remove(Place::FIRST, peers[0]);
        line.remove(second, peers[1]);
        assert_eq!(line.first(), Some((second, peers[0])), "what is not there is not removed");
        line.insert(Place::FIRST, peers[1]);
        line.insert(second.after(), peers[2]);
        assert_eq!(line.peers(), [peers[1], peers[0], peers[2]]);
        line.remove(second, peers[0]);
        line.remove(Place::FIRST, peers[1]);
        assert_eq!(line.first(), Some((second.after(), peers[2])));
        line.remove(second.after(), peers[2]);
        assert_eq!(line.first(), None);
        line.insert(second, peers[0]);
        line.remove(second, peers[0]);
        assert!(matches!(line, Line::Empty));
    }
}
