//! Logins with tokens (RFC 7628, and XOAUTH2), which Debian's library has no plug-in for: the server refuses one, and takes
//! the next, which another program has put in its place.

use std::fs;

use conformance::{Plan, Suite, base64, require};
use nix::unistd::Uid;

use super::{SHORT, Stage};
use crate::case_file::Case;

fn script(mechanism: &str, answers: &[&str]) -> Case {
    let lines = ["@@".to_owned(), format!("@ EHLO 250-mx.test|250 AUTH PLAIN {mechanism}")];
    let request = ["> smtp 3 [127.0.0.1]:PORT1", "+ bob@remote.test"];
    let mut case = Case::default();
    case.script =
        lines.into_iter().chain(answers.iter().chain(&request).map(|line| (*line).to_owned())).collect();
    case
}

#[test]
fn a_token_is_read_at_each_login() {
    require!(Suite::under_test().is_ours("smtp"), "Debian's library of logins has no plug-in for tokens");
    require!(Uid::effective().is_root(), "Debian's bounce service needs root");
    for (mechanism, head, refused) in [
        ("XOAUTH2", "user=me@example.com\u{1}", ""),
        ("OAUTHBEARER", "n,a=me@example.com,\u{1}host=127.0.0.1\u{1}", "\u{1}"),
    ] {
        let options = [
            "smtp_sasl_auth_enable=yes".to_owned(),
            format!("smtp_sasl_mechanism_filter={mechanism}"),
            "smtp_sasl_security_options=noanonymous".to_owned(),
            "smtp_sasl_password_maps=static:me@example.com:file:$config_directory/token".to_owned(),
        ];
        let stage = Stage::with(Plan::new("smtp-tokens"), &options, SHORT);
        let token = stage.instance.home().join("etc/token");
        let renew = |text: &str| {
            let new = token.with_extension("new");
            fs::write(&new, text).and_then(|()| fs::rename(&new, &token)).expect("our own folder");
        };
        let login = |token: &str| {
            let told = base64(format!("{head}auth=Bearer {token}\u{1}\u{1}"));
            format!("heard1: AUTH {mechanism} {told}")
        };

        renew("first-token\n");
        let why = format!("@ AUTH 334 {}", base64("{\"status\":\"401\"}"));
        let lines = stage.play(&script(mechanism, &[&why, "@ 334 535 5.7.8 it has expired"]));
        let at = lines.iter().position(|line| *line == login("first-token"));
        let answer = at.and_then(|at| lines.get(at + 1));
        assert_eq!(answer, Some(&format!("heard1: {}", base64(refused))), "{lines:#?}");
        let deferred = "status=deferred (SASL authentication failed; server 127.0.0.1[127.0.0.1] said: 535 5.7.8 it has expired)";
        assert!(lines.iter().any(|line| line.ends_with(deferred)), "{lines:#?}");

        renew("second.token~+/=");
        let lines = stage.play(&script(mechanism, &["@ AUTH 235 2.7.0 welcome"]));
        assert!(lines.contains(&login("second.token~+/=")), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("status=sent (250 2.0.0 queued as 1)")), "{lines:#?}");

        fs::remove_file(&token).expect("it is there");
        let lines = stage.play(&script(mechanism, &["@ AUTH 235 2.7.0 welcome"]));
        let without = "SASL authentication failed; cannot authenticate to server 127.0.0.1[127.0.0.1]";
        assert!(lines.iter().any(|line| line.contains(without)), "{lines:#?}");
    }
}
