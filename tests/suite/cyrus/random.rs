//! Random `smtpd.conf` files, and random dialogues of a login, on Postfix and on the suite under test.

use conformance::{Dice, Instance, Service, Suite, base64, free_port, require, version_at_least};

use super::{accounts, plain, plan, said, sasldb, start, start_with};
use crate::dialogue::{EHLO, greeted};
use crate::sasl::SUCCESS;

/// A line that a configuration file may have: right, nearly right, or of no use here.
fn random_line(dice: &mut Dice, sasldb: &str) -> String {
    const MECHANISMS: &[&str] = &[
        "PLAIN",
        "login",
        "CRAM-MD5",
        "digest-md5",
        "SCRAM-SHA-1",
        "SCRAM-SHA-256",
        "FOO",
        "PLAIN,LOGIN",
        "",
    ];
    let mut list = String::new();
    for _ in 0..dice.below(4) {
        list += *dice.one_of(MECHANISMS);
        list += *dice.one_of(&[" ", "  ", "\t", ", "]);
    }
    // The second half of a line that is too long is a line of its own.
    let long = format!("unknown: {}mech_list: LOGIN", "x".repeat(4086));
    let line = match dice.below(16) {
        0..3 => format!("mech_list:{}{list}", dice.one_of(&[" ", "", "\t"])),
        3 | 4 => format!("pwcheck_method: {}", dice.one_of(&["auxprop", "auxprop auxprop", "AUXPROP"])),
        5 => format!("sasldb_path: {}", dice.one_of(&[sasldb, sasldb, "/nowhere"])),
        6 => format!("auxprop_plugin: {}", dice.one_of(&["sasldb", "sasldb sasldb"])),
        7 => format!("log_level: {}", dice.one_of(&["0", "3", "7", "-1", "x"])),
        8 => format!("#{list}"),
        9 => "   ".to_owned(),
        10 => format!("{}: x{list}", dice.one_of(&["unknown", "Unknown_2", "smtpd"])),
        _ => dice
            .one_of(&[
                "mech_list PLAIN",
                "mech_list : PLAIN",
                "mech_list:",
                ": x",
                "a-b: c",
                "  mech_list: LOGIN",
                " :x",
                ":",
                "\u{b}mech_list:\u{b}PLAIN\u{b}",
                "mech_list:PLAIN\0 LOGIN",
                "mech_list\0: PLAIN",
                "\0mech_list: PLAIN",
                "caf\u{e9}: x",
                "unknown: caf\u{e9}",
                "mech_list: PL\u{c4}IN LOGIN",
                "mech_list:: PLAIN",
                "mech_list: PLAIN\rmech_list: LOGIN",
                &long,
            ])
            .to_string(),
    };
    line + *dice.one_of(&["", "", "", " ", "\t", "\r"]) + *dice.one_of(&["\n", "\n", "\n", "\n\n"])
}

/// Random files: who is offered what, who gets in, and which files end the process.
/// `POSTERN_CONFIGURATIONS=300 POSTERN_SEED=7` are more, and other ones.
#[test]
fn files() {
    require!(nix::unistd::Uid::effective().is_root(), "a comparison with Postfix needs root");
    require!(Suite::under_test() != Suite::Postfix, "would compare Postfix with itself");
    require!(Suite::under_test().is_ours("smtpd"), "libsasl2 reads them");
    require!(!version_at_least(3, 10), "compared with 3.7, which is what there is beside");
    let accounts = accounts();
    require!(accounts.is_ok(), accounts.as_ref().err().map_or("", String::as_str));
    let accounts = accounts.expect("checked");
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let mut dice = Dice::new(number("POSTERN_SEED").unwrap_or(7));
    let path = accounts.sasldb().display().to_string();
    let count = number("POSTERN_CONFIGURATIONS").unwrap_or(16);
    let files: Vec<(String, String)> = (0..count)
        .map(|at| {
            let lines = 1 + dice.below(5);
            let mut conf = format!("sasldb_path: {path}\n");
            conf.extend((0..lines).map(|_| random_line(&mut dice, &path)));
            (format!("file{at}"), conf)
        })
        .collect();
    let answers = |suite: Suite| {
        let mut plan = plan("cyrus-files", suite);
        let ports: Vec<u16> = files
            .iter()
            .map(|(name, _)| {
                let port = free_port();
                let service = Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"));
                plan.service(service.option("smtpd_sasl_path", name));
                port
            })
            .collect();
        let instance = start_with(plan, &files);
        let answers: Vec<String> = std::thread::scope(|scope| {
            let asked: Vec<_> = ports
                .iter()
                .map(|port| scope.spawn(|| said(*port, &[EHLO, &plain("\0bob\0geheim"), &plain("\0bob\0x")])))
                .collect();
            asked.into_iter().map(|asked| asked.join().expect("a client does not panic")).collect()
        });
        instance.instance.expect_fault("SASL per-process initialization failed");
        answers
    };
    // Without `mech_list` NTLM is not offered ("Otherwise" in docs/differences.md).
    let expected: Vec<String> =
        answers(Suite::Postfix).iter().map(|answer| answer.replace(" NTLM", "")).collect();
    let seen = answers(Suite::under_test());
    assert!(expected.iter().filter(|answer| answer.contains(SUCCESS)).count() * 5 > expected.len());
    let different =
        files.iter().zip(seen.iter().zip(&expected)).filter(|(_, (seen, expected))| seen != expected);
    let different: Vec<_> = different.collect();
    assert!(different.is_empty(), "{} of {count}: {different:#?}", different.len());
}

/// A login dialogue that may be right, nearly right or nonsense.
fn random_dialogue(dice: &mut Dice) -> Vec<String> {
    let names = [
        "bob",
        "alice@example.com",
        "bob@mx.example.com",
        "alice",
        "",
        " bob",
        "j\u{e9}",
        "b\u{1}b",
        "a@b@c",
        "@",
        "odd,na=me",
    ];
    let long = "x".repeat(400);
    let passwords = ["geheim", "secret", "", "x", "geheim\0", "\u{fc}ber", "pass word", &long];
    let acts = ["", "", "", "bob", "alice@example.com"];
    let mut lines = Vec::new();
    for _ in 0..=dice.below(2) {
        let (name, password) = (*dice.one_of(&names), *dice.one_of(&passwords));
        let mut responses = match dice.below(5) {
            0 | 1 => vec![base64(format!("{}\0{name}\0{password}", dice.one_of(&acts)))],
            2 | 3 => vec![base64(name), base64(password)],
            _ => vec![base64(format!("{name} {}", "0".repeat(32)))],
        };
        if dice.percent(25) {
            let at = usize::try_from(dice.below(responses.len() as u64)).expect("small");
            let text = responses[at].clone();
            responses[at] = match dice.below(8) {
                0 => "*".into(),
                1 => "=".into(),
                2 => String::new(),
                3 => format!("{text}!"),
                4 => format!("!{text}"),
                5 => text.chars().skip(1).collect(),
                6 => format!("{text}AAAA"),
                _ => text.trim_end_matches('=').to_owned(),
            };
        }
        let mechanism = dice.one_of(&[
            "PLAIN",
            "PLAIN",
            "plain",
            "LOGIN",
            "LOGIN",
            "CRAM-MD5",
            "SCRAM-SHA-1",
            "FOO",
            "EXTERNAL",
        ]);
        if dice.percent(50) && !responses[0].is_empty() {
            lines.push(format!("AUTH {mechanism} {}", responses.remove(0)));
        } else {
            lines.push(format!("AUTH {mechanism}"));
        }
        lines.extend(responses);
    }
    lines
}

/// What the server answers, with what is random in it masked, and what it logs.
fn answers(instance: &Instance, lines: &[String]) -> (Vec<String>, Vec<String>) {
    let before = instance.log().len();
    let mut client = greeted(instance);
    let mut replies: Vec<String> = Vec::new();
    for line in lines {
        // A response without a challenge would be a command.
        let challenged = replies.last().is_some_and(|reply| reply.starts_with("334"));
        if challenged == line.starts_with("AUTH ") {
            continue;
        }
        let text = client.command(line).text();
        let random = text.starts_with("334 PD") || text.starts_with("334 cj");
        replies.push(if random { text[..6].to_owned() } else { text });
    }
    drop(client);
    let of_session = || {
        let log: Vec<_> = instance.log().into_iter().skip(before).map(|line| line.text).collect();
        log.iter().any(|text| text.contains("disconnect from")).then_some(log)
    };
    let log = instance.wait_for("the end of the session in the log", of_session);
    let of_sasl = log.into_iter().filter(|text| text.contains("SASL"));
    (replies, of_sasl.collect())
}

#[test]
fn dialogues() {
    let accounts = accounts();
    require!(accounts.is_ok(), accounts.as_ref().err().map_or("", String::as_str));
    let accounts = accounts.expect("checked");
    require!(!version_at_least(3, 10), "compared with 3.7, which is what there is beside");
    let conf = sasldb(&accounts, "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1");
    let ours = start(plan("cyrus-random", Suite::under_test()), &conf);
    let theirs = start(plan("cyrus-random-postfix", Suite::Postfix), &conf);
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let mut dice = number("POSTERN_SEED").map_or_else(|| Dice::new(20_261_130), Dice::new);
    for _ in 0..number("POSTERN_LOGINS").unwrap_or(60) {
        let lines = random_dialogue(&mut dice);
        assert_eq!(answers(&ours, &lines), answers(&theirs, &lines), "{lines:#?}");
    }
}
