//! One line of master.cf: fields, arguments, endpoint. What is accepted means the same when it is written out again.

#![no_main]

use config::mastercf::{Defaults, RawEntry};
use config::mastercf_endpoint::Endpoint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let raw = RawEntry::parse(1, text);
    let _ = raw.arguments_and_errors();
    if let Ok((name, _)) = raw.head() {
        let _ = Endpoint::parse(name).map_err(|error| error.to_string());
    }
    match raw.entry(&Defaults::CURRENT) {
        Ok(entry) => {
            let mut again = raw.fields.join(&b' ');
            for argument in &entry.arguments {
                again.extend_from_slice(b" {");
                again.extend_from_slice(argument);
                again.push(b'}');
            }
            // Braces inside an argument need not be balanced when it was not written in braces.
            if entry.arguments.iter().all(|argument| !argument.iter().any(|byte| b"{}".contains(byte))) {
                assert_eq!(RawEntry::parse(1, &again).entry(&Defaults::CURRENT).as_ref(), Ok(&entry));
            }
        }
        Err(error) => drop(error.to_string()),
    }
});
