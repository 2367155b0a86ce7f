//! `force_mime_input_conversion` and `non_empty_end_of_header_action`, of later versions, and of Postern alone.

use std::io::Write;
use std::os::unix::net::UnixStream;

use conformance::{Instance, Plan, Suite, require, version_at_least};

use super::message;
use crate::cleanup::{FLAGS, Outcome, submit};

fn start(name: &str, parameter: (&str, &str)) -> Instance {
    Plan::new(name).without_version().set(parameter.0, parameter.1).start()
}

fn texts(outcome: &Outcome) -> Vec<&str> {
    outcome
        .records
        .iter()
        .filter_map(|record| record.split_once("regular_text: ").map(|(_, text)| text))
        .collect()
}

fn queue(instance: &Instance, content: &str) -> Outcome {
    submit(instance, FLAGS, &message(content)).1
}

#[test]
fn eight_bit_content_becomes_quoted_printable() {
    require!(Suite::under_test() == Suite::Postern || version_at_least(3, 9), "Postfix has it since 3.9");
    let instance = start("checks-conversion", ("force_mime_input_conversion", "yes"));
    let outcome = queue(
        &instance,
        "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\nFrom: a@b\nTo: c@d\n\npre\\e9\n\
         --b\nContent-Transfer-Encoding: 8bit\nX-A: b\n\nd\\e9j\\e0 = \n--b\nContent-Transfer-Encoding: base64\n\n4A==\n--b--",
    );
    assert_eq!(outcome.status, "0");
    let texts = texts(&outcome);
    let expected = [
        "Content-Transfer-Encoding: quoted-printable",
        "",
        "d=E9j=E0 =3D=20",
        "--b",
        "Content-Transfer-Encoding: base64",
        "",
        "4A==",
        "--b--",
    ];
    assert!(texts.windows(expected.len()).any(|window| window == expected), "{texts:#?}");
    assert_eq!(
        texts.iter().filter(|text| **text == "Content-Transfer-Encoding: 7bit").count(),
        1,
        "{texts:#?}"
    );
    assert!(!texts.contains(&"Content-Transfer-Encoding: 8bit"), "{texts:#?}");
}

#[test]
fn a_header_that_nothing_ends() {
    require!(Suite::under_test() == Suite::Postern || version_at_least(3, 11), "Postfix has it since 3.11");
    let content = "Subject: s\nno header";
    let added = "MIME-Error: message header was not terminated by empty line";
    let name = "non_empty_end_of_header_action";
    let outcome = queue(&start("checks-header-end", (name, "add_header")), content);
    assert_eq!((outcome.status.as_str(), outcome.reason.as_str()), ("0", ""));
    assert!(texts(&outcome).windows(3).any(|window| window == [added, "", "no header"]), "{outcome:#?}");
    let outcome = queue(&start("checks-header-end", (name, "fix_quietly")), content);
    assert!(!texts(&outcome).contains(&added), "{outcome:#?}");
    let instance = start("checks-header-end", (name, "reject"));
    let outcome = queue(&instance, content);
    let reason = "5.6.0 primary header was terminated with non-empty line";
    assert_eq!((outcome.status.as_str(), outcome.reason.as_str()), ("8", reason));
    instance.wait_for_log(
        ": reject: mime-error primary header was terminated with non-empty line: no header from ",
    );
}

#[test]
fn what_cannot_be() {
    require!(Suite::under_test() == Suite::Postern || version_at_least(3, 11), "Postfix has them since 3.11");
    for (parameters, expected) in [
        (
            &[("non_empty_end_of_header_action", "x")][..],
            "fatal: bad non_empty_end_of_header_action value: 'x'",
        ),
        (
            &[("force_mime_input_conversion", "yes"), ("disable_mime_input_processing", "yes")],
            "fatal: do not specify both disable_mime_input_processing=yes and force_mime_input_conversion=yes",
        ),
    ] {
        let mut plan = Plan::new("checks-values");
        plan.without_version();
        for (name, value) in parameters {
            plan.set(name, value);
        }
        let instance = plan.start();
        // Postfix finds out about the second when content comes.
        let socket = instance.queue_directory().join("public/cleanup");
        let mut client = UnixStream::connect(socket).expect("master listens");
        let request = [format!("flags\0{FLAGS}\0\0").as_bytes(), &message("A: b\n\nc")].concat();
        let _ = client.write_all(&request);
        instance.wait_for_log(expected);
    }
}
