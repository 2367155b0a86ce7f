//! One line of output: `NAME = VALUE`, white space made even, folded on demand.

use config::logical_lines::is_space;

use crate::Output;
use crate::options::Layout;

/// No line is to be longer than this when lines are folded.
pub const LINE_LIMIT: usize = 80;

/// What starts the second and later lines of a folded one.
pub(crate) const INDENT: &[u8] = b"    ";

/// Shows a name and its value.
pub fn setting(output: &mut Output, layout: Layout, name: &[u8], value: &[u8]) {
    if layout.json {
        return output.line(&command::json::pair(name, value));
    }
    let text = match layout {
        Layout { hide_value: true, .. } => name.to_vec(),
        Layout { hide_name: true, .. } => value.to_vec(),
        _ => [name, b" = ", value].concat(),
    };
    output.line(&even(&text, layout.fold));
}

/// Words with one blank between them, or a new line where the blank would lead past the limit.
pub fn even(text: &[u8], fold: bool) -> Vec<u8> {
    let mut line = Vec::with_capacity(text.len());
    let mut column = 0;
    for word in text.split(|byte| is_space(*byte)).filter(|word| !word.is_empty()) {
        if column > 0 {
            if fold && column + 1 + word.len() > LINE_LIMIT {
                line.push(b'\n');
                line.extend_from_slice(INDENT);
                column = INDENT.len();
            } else {
                line.push(b' ');
                column += 1;
            }
        }
        line.extend_from_slice(word);
        column += word.len();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_folds() {
        let long = "a".repeat(75);
        let cases = [
            ("a =   b\t c \n", false, "a = b c".to_owned()),
            ("a = ", false, "a =".to_owned()),
            (&format!("x = {long} y"), true, format!("x = {long}\n    y")),
            (&format!("x = {} y z", &long[..74]), true, format!("x = {} y\n    z", &long[..74])),
            (&format!("x = y {long}{long}"), true, format!("x = y\n    {long}{long}")),
        ];
        for (text, fold, expected) in cases {
            assert_eq!(even(text.as_bytes(), fold), expected.as_bytes(), "{text}");
        }
    }
}
