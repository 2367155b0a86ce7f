//! Places in a list that can always be put between two others.

/// A place in a job list: what is smaller comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place(u128);

impl Place {
    const DISTANCE: u128 = 1 << 64;
    /// That of the first in an empty list. From here one can go on by [`DISTANCE`](Self::DISTANCE) as often as there are
    /// messages, in both directions.
    pub(crate) const FIRST: Self = Self(u128::MAX / 2);

    /// Behind all others.
    pub(crate) fn after(self) -> Self {
        Self(self.0 + Self::DISTANCE)
    }

    /// Before this one, behind the other if there is one; nothing when there is no room, so that the list must be numbered
    /// anew.
    pub(crate) fn before(self, other: Option<Self>) -> Option<Self> {
        let Some(Self(other)) = other else { return Some(Self(self.0 - Self::DISTANCE)) };
        let middle = other + (self.0 - other) / 2;
        (middle != other).then_some(Self(middle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_between_and_it_ends() {
        let (first, second) = (Place::FIRST, Place::FIRST.after());
        assert!(first.before(None).is_some_and(|place| place < first));
        let mut upper = second;
        let mut steps = 0;
        while let Some(middle) = upper.before(Some(first)) {
            assert!(first < middle && middle < upper);
            upper = middle;
            steps += 1;
        }
        assert_eq!(steps, 64);
    }
}
