//! A client's command line: tokens and parameters.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smtp::command::Command;
use smtp::parameter::{MailParameters, Offer, RcptParameters};

fuzz_target!(|line: &[u8]| {
    let offer = Offer { dsn: true, smtputf8: true, requiretls: true, verp: Some(b"-=+") };
    let mut mail = MailParameters::default();
    let mut rcpt = RcptParameters::default();
    let command = Command::parse(line);
    let _ = command.verb();
    for token in command.tokens() {
        let _ = mail.apply(token, &offer).map_err(|refused| refused.reply().wire());
        let _ = rcpt.apply(token, &offer).map_err(|refused| refused.reply().wire());
        let _ = smtp::xtext::decode(token.text);
        let _ = smtp::xtext::decode_unitext(token.text);
    }
});
