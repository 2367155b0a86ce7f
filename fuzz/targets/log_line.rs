//! Lines of the log, as fields and as JSON.
#![no_main]

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use logline::Line;

fuzz_target!(|bytes: &[u8]| {
    let event = logline::event(bytes, SystemTime::UNIX_EPOCH);
    assert!(event.starts_with("{\"time\":\"") && event.ends_with("\"}"));
    assert!(!event.contains(|c: char| c.is_control() && c.is_ascii() && c != '\u{7f}'), "one line");
    let text = String::from_utf8_lossy(bytes);
    let Some(line) = Line::parse(&text) else { return };
    let mut names: Vec<&str> = line.fields.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "a name is there once");
    for (name, value) in &line.fields {
        assert!(line.text.contains(value), "{name}");
    }
});
