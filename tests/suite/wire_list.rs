//! Lists of the internal protocol as text, read byte by byte.

use std::io::Read;

/// A list with `\0` as `|`, or nothing at the end of the stream. A value may be empty: the list ends where a name would begin.
pub(crate) fn read_list(input: &mut impl Read) -> Vec<u8> {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    let (mut strings, mut length) = (0, 0);
    while input.read(&mut byte).expect("an answer in time") == 1 {
        bytes.push(if byte[0] == 0 { b'|' } else { byte[0] });
        if byte[0] != 0 {
            length += 1;
        } else if length == 0 && strings % 2 == 0 {
            break;
        } else {
            (strings, length) = (strings + 1, 0);
        }
    }
    bytes
}
