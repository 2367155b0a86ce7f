//! The recorded queue files, as Postfix 3.7.11's postcat shows them: `expected/FILE.OPTIONS` is its output with `TZ=UTC`.

use std::fs;
use std::io::BufReader;
use std::path::Path;

use postcat::{Parts, Printer, Show};

/// Dates depend on the time zone of whoever runs the test.
fn without_dates(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.contains("_time: ")).collect()
}

fn show(letters: &str) -> Show {
    let has = |letter| letters.contains(letter);
    let parts = Parts { envelope: has('e'), header: has('h'), body: has('b') };
    Show {
        parts,
        file_name: has('f'),
        offsets: has('o'),
        types: has('d'),
        file_order: has('r'),
        verbose: has('v'),
    }
}

#[test]
fn files_are_shown_as_postfix_shows_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in fs::read_dir(folder.join("tests/expected")).expect("recorded outputs") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("plain names");
        let (file, letters) = name.rsplit_once('.').expect("FILE.OPTIONS");
        let queue_file = fs::File::open(folder.join("../../crates/queue/tests/fixtures").join(file));
        let mut output = Vec::new();
        let reader = BufReader::new(queue_file.expect("the recorded file"));
        Printer::new(reader, file, show(letters), &mut output).print(0).expect("a whole file");
        let expected = fs::read_to_string(&path).expect("text");
        let output = String::from_utf8(output).expect("text");
        assert_eq!(without_dates(&output), without_dates(&expected), "{name}");
        count += 1;
    }
    assert!(count >= 20);
}

/// Whatever is in the file, printing ends.
#[test]
fn damaged_files_are_printed_to_an_end() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/queue/tests/fixtures");
    let bytes = fs::read(fixtures.join("edited-done-recipient")).expect("the recorded file");
    for at in 0..bytes.len() {
        for value in [0u8, 0x20, 0x45, 0x4d, 0x58, 0x70, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            for letters in ["ehb", "e", "bh", "bv"] {
                let mut output = Vec::new();
                let mut printer =
                    Printer::new(std::io::Cursor::new(&damaged), "damaged", show(letters), &mut output);
                let _ = printer.print(0);
                assert!(output.len() < 10_000_000);
            }
        }
    }
}
