//! Several measurements of one thing.

use std::fmt;

/// Least, median and greatest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    least: f64,
    /// The one in the middle, or between the two there.
    pub median: f64,
    greatest: f64,
}

impl Spread {
    /// Of these values, of which there must be one at least.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let half = values.len() / 2;
        let below = if values.len().is_multiple_of(2) { half - 1 } else { half };
        let median = f64::midpoint(values[below], values[half]);
        Spread { least: values[0], median, greatest: values[values.len() - 1] }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.2} ({:.2} to {:.2})", self.median, self.least, self.greatest)
    }
}
