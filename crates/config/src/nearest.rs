//! The parameter that somebody may have meant who wrote a name that does not exist.

use crate::table;

/// The name in the table that is nearest to `name`, when it is near enough to be what was meant:
/// at most one edit for each four letters, and never more than three. An edit is a letter too many,
/// too few, wrong, or exchanged with its neighbour.
///
/// ```
/// assert_eq!(config::nearest("smtpd_recipient_restriction"), Some("smtpd_recipient_restrictions"));
/// assert_eq!(config::nearest("my_own_setting"), None);
/// ```
pub fn nearest(name: &str) -> Option<&'static str> {
    const LONGEST: usize = 100;
    const MOST: usize = 3;
    if name.len() > LONGEST {
        return None;
    }
    let most = (name.len() / 4).min(MOST);
    let candidates = table::all().filter(|row| row.is_current());
    candidates
        .filter(|row| row.name().len().abs_diff(name.len()) <= most)
        .map(|row| (distance(name.as_bytes(), row.name().as_bytes()), row.name()))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, name)| name)
}

/// The number of edits between two texts.
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let wrong = last[j] + usize::from(a != b);
            let mut best = wrong.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let cases =
            [("abc", "abc", 0), ("abc", "acb", 1), ("abc", "ab", 1), ("", "ab", 2), ("kitten", "sitting", 3)];
        for (left, right, expected) in cases {
            assert_eq!(distance(left.as_bytes(), right.as_bytes()), expected, "{left} {right}");
        }
    }

    #[test]
    fn proposals() {
        let cases = [
            ("myhostnmae", Some("myhostname")),
            ("mydestinations", Some("mydestination")),
            ("smptd_banner", Some("smtpd_banner")),
            ("mynetwork", Some("mynetworks")),
            ("my_own_setting", None),
            ("x", None),
            ("", None),
        ];
        for (name, expected) in cases {
            assert_eq!(nearest(name), expected, "{name}");
        }
    }
}
