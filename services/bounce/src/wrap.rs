//! Long lines.

/// Width of the first line.
const WIDTH: usize = 79;
/// What the others begin with.
const INDENT: &[u8] = b"    ";

/// A text in lines of 79 columns, those behind the first indented. A line is broken before the first word that does not
/// fit; a word is never broken.
pub(crate) fn wrapped(text: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut rest = text;
    let mut width = WIDTH;
    loop {
        let end = end_of_line(rest, width);
        let line = rest[..end].trim_ascii_end();
        lines.push(if lines.is_empty() { line.to_vec() } else { [INDENT, line].concat() });
        rest = rest[end..].trim_ascii_start();
        if rest.is_empty() {
            return lines;
        }
        width = WIDTH - INDENT.len();
    }
}

/// Behind the last word that fits, or the first one if none does.
fn end_of_line(text: &[u8], width: usize) -> usize {
    if text.len() <= width {
        return text.len();
    }
    let is_break =
        |at: &usize| *at > 0 && text[*at].is_ascii_whitespace() && !text[*at - 1].is_ascii_whitespace();
    let fitting = (0..=width).rev().find(is_break);
    fitting.or_else(|| (width + 1..text.len()).find(is_break)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    /// As observed from 3.7.11.
    #[test]
    fn lines() {
        let lengths = |text: &str| -> Vec<usize> { wrapped(text.as_bytes()).iter().map(Vec::len).collect() };
        let (a, w, d) = ("a".repeat(68), "w".repeat(200), "d".repeat(72));
        assert_eq!(lengths(&format!("<a@b>: {w}")), [6, 204]);
        assert_eq!(lengths(&format!("<a@b>: {a} b c d")), [79, 5]);
        assert_eq!(lengths(&format!("<a@b>: {a}a b c {d} ee ff")), [78, 78, 9]);
        assert_eq!(lengths("x  "), [1]);
        assert_eq!(lengths(""), [0]);
    }
}
