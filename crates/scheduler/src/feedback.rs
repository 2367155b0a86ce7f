//! How much the result of a request changes the number of concurrent deliveries to its destination.

/// A value of `..._positive_feedback` or `..._negative_feedback`: `F`, `F/D` or `F/concurrency`, where `F/D` is of the
/// range 0 to 1 (spec qmgr 11).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Feedback {
    /// The same for every result.
    Fixed(f64),
    /// Divided by the concurrency window as it is.
    PerWindow(f64),
}

impl Feedback {
    /// Reads a value; nothing when it is malformed or out of range.
    ///
    /// ```
    /// use scheduler::Feedback;
    /// assert_eq!(Feedback::parse("1 / 4"), Some(Feedback::Fixed(0.25)));
    /// assert_eq!(Feedback::parse("1/concurrency"), Some(Feedback::PerWindow(1.0)));
    /// assert_eq!(Feedback::parse("3/2"), None);
    /// ```
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        let within = |number: f64| (0.0..=1.0).contains(&number).then_some(number);
        match value.split_once('/') {
            None => number(value).and_then(within).map(Self::Fixed),
            Some((above, below)) if below.trim() == "concurrency" => {
                number(above).and_then(within).map(Self::PerWindow)
            }
            Some((above, below)) => {
                let below = number(below).filter(|&below| below > 0.0)?;
                within(number(above)? / below).map(Self::Fixed)
            }
        }
    }

    /// The feedback at this window.
    pub(crate) fn at(self, window: u32) -> f64 {
        match self {
            Self::Fixed(value) => value,
            Self::PerWindow(value) => value / f64::from(window.max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (text, value) in [
            ("1", Some(Feedback::Fixed(1.0))),
            ("0", Some(Feedback::Fixed(0.0))),
            (" 0.5 ", Some(Feedback::Fixed(0.5))),
            ("1/5", Some(Feedback::Fixed(0.2))),
            ("0.5 / concurrency", Some(Feedback::PerWindow(0.5))),
            ("2/concurrency", None),
            ("1.1", None),
            ("-1", None),
            ("1/0", None),
            ("nan", None),
            ("inf/inf", None),
            ("", None),
            ("1/", None),
            ("/2", None),
            ("1/2/3", None),
        ] {
            assert_eq!(Feedback::parse(text), value, "{text:?}");
        }
        assert!((Feedback::PerWindow(1.0).at(4) - 0.25).abs() < f64::EPSILON);
    }
}
