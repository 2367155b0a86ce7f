//! Numbers that look random and come the same each time.

use std::time::SystemTime;

/// A source of them (xorshift).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Starts from this number.
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Starts from the clock; the seed is printed, so that what failed can be looked at again.
    pub fn of_the_clock() -> Dice {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seed = since.map_or(1, |span| u64::from(span.subsec_nanos()));
        println!("seed {seed}");
        Dice::new(seed)
    }

    /// One of these.
    ///
    /// # Panics
    /// When there is none.
    pub fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[usize::try_from(self.below(choices.len() as u64)).expect("below a usize")]
    }

    /// A number below the limit; 0 when that is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8).checked_rem(limit).unwrap_or(0)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
