//! What strangers have written made harmless; ages, numbers, columns.

/// Text that moves no cursor and takes one column a character: what is not plain Latin, Greek or Cyrillic becomes `?`.
pub(crate) fn harmless(text: &str) -> String {
    let is_plain = |c: char| matches!(c, ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{2af}' | '\u{370}'..='\u{482}' | '\u{48a}'..='\u{52f}');
    text.chars().map(|c| if is_plain(c) { c } else { '?' }).collect()
}

/// In so many columns: cut, with a mark, or filled with blanks.
pub(crate) fn fit(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return format!("{text:width$}");
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        cut.push('~');
    }
    cut
}

/// Seconds, as short as can be.
pub(crate) fn age(seconds: u64) -> String {
    sys::time::age(std::time::Duration::from_secs(seconds))
}

/// Bytes: `800`, `12k`, `3M`.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => bytes.to_string(),
        10_000..10_000_000 => format!("{}k", bytes / 1000),
        _ => format!("{}M", bytes / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        assert_eq!(
            harmless("a\u{1b}[2J\r\n\t\u{9b}\u{202e}\u{fc}\u{434}\u{4e00}\u{301}\u{7f}\u{ad}"),
            "a?[2J?????\u{fc}\u{434}????"
        );
        assert_eq!([fit("abc", 5), fit("abcdef", 5), fit("abc", 0)], ["abc  ", "abcd~", ""]);
        assert_eq!([age(0), age(99), age(100), age(7200), age(400_000)], ["0s", "99s", "1m", "2h", "4d"]);
        assert_eq!([size(1), size(12_345), size(12_345_678)], ["1", "12k", "12M"]);
    }
}
