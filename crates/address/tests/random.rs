//! Random token soup through every parser: nothing panics.

use address::header::{AddressList, DEFAULT_TOKEN_LIMIT};

const PIECES: [&str; 26] = [
    "a", "b", "@", ".", ",", ":", ";", "<", ">", "(", ")", "\"", "\\", "[", "]", " ", "%", "!", "|", "\t",
    "\n", "\u{e9}", "grp: x;", "<j@x>", "\"q q\"", "(c)",
];

#[test]
fn token_soup() {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap_or(0)
    };
    for _ in 0..20_000 {
        let length = next() % 12;
        let text: String = (0..length).map(|_| PIECES[next() % PIECES.len()]).collect();
        address::parse_any(text.as_bytes());
        // A token limit cuts, and never makes something up.
        let list = AddressList::parse(text.as_bytes(), DEFAULT_TOKEN_LIMIT);
        let cut = AddressList::parse(text.as_bytes(), 3);
        assert!(cut.addresses().map(<[_]>::len).sum::<usize>() <= 3, "{text:?}");
        assert!(!list.external_members().is_empty(), "{text:?}");
    }
}
