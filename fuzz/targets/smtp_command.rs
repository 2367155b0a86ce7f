//! A client's command line: tokens, path, parameters.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smtp::command::Command;
use smtp::path::PathText;

fuzz_target!(|line: &[u8]| {
    let command = Command::parse(line);
    let _ = command.verb();
    for token in command.tokens() {
        let _ = PathText::of_token(&token.text);
        let _ = smtp::parameter::split(&token.text);
        let _ = smtp::xtext::decode(&token.text);
        let _ = smtp::xtext::decode_unitext(&token.text);
    }
});
