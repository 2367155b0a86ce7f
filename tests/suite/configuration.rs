//! main.cf: what programs that start say about it, and what postconf shows.

use std::fs;
use std::time::{Duration, SystemTime};

use conformance::{Client, Instance, Plan, Suite, require};

/// What is appended to main.cf, and what a command that starts then says before it ends with status 1.
const FAULTS: &[(&str, &str)] = &[
    ("max_use = abc", "fatal: bad numerical configuration: max_use = abc"),
    ("myorigin = /nonexistent/x", "fatal: /nonexistent/x: cannot open file: No such file or directory"),
    ("myorigin = /dev/null", "fatal: myorigin file /dev/null is empty"),
    ("max_use = 0", "fatal: invalid max_use parameter value 0 < 1"),
    ("max_use = <${{3.10} >=level {3.6} ? {a} : {b}}>", "fatal: bad numerical configuration: max_use = <a>"),
    ("max_use = <$$y ${y:{ no }} ${y?yes}>", "fatal: bad numerical configuration: max_use = <$y  no  >"),
    ("max_idle = 5 m", "fatal: parameter max_idle: bad time value or unit: 5 m"),
    ("in_flow_delay = 11m", "fatal: invalid in_flow_delay: 660 (max 10)"),
    ("soft_bounce = true", "fatal: bad boolean configuration: soft_bounce = true"),
    ("mail_name =", "fatal: bad string length 0 < 1: mail_name = "),
    ("mail_name = ${x", "warning: truncated macro reference: \"${x\""),
    ("mail_name = $a\na = $mail_name", "fatal: dictionary mail_dict: macro processing error"),
    ("compatibility_level = 3.x", "fatal: malformed compatibility level syntax: \"3.x\""),
    ("myhostname = a..b", "warning: valid_hostname: misplaced delimiter: a..b"),
    ("myhostname = a..b", "/main.cf: parameter myhostname: bad parameter value: a..b"),
    ("relayhost = $myhostname", "fatal: myhostname and relayhost parameter settings must not be identical: "),
    ("myorigin = a, b", "fatal: myorigin parameter setting must not contain multiple values: a, b"),
    (
        "inet_interfaces = 203.0.113.9",
        "fatal: parameter inet_interfaces: no local interface found for 203.0.113.9",
    ),
    ("inet_protocols = ipx", "fatal: unknown inet_protocols value \"ipx\" in \"ipx\""),
    ("syslog_facility = x", "/main.cf: parameter syslog_facility: unrecognized value: x"),
    ("just text", "missing '=' after attribute name: \"just text\""),
];

fn instance(name: &str) -> Instance {
    Plan::new(name).prepare()
}

/// Appends to main.cf; the file is made to look old, so that no program waits for it to come to rest.
fn append(instance: &Instance, original: &str, text: &str) {
    let path = instance.home().join("etc/main.cf");
    fs::write(&path, format!("{original}{text}\n")).expect("a file of our own");
    let file = fs::File::options().write(true).open(&path).expect("a file of our own");
    file.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("a file of our own");
}

fn main_cf(instance: &Instance) -> String {
    fs::read_to_string(instance.home().join("etc/main.cf")).expect("a file of our own")
}

#[test]
fn a_fault_in_main_cf_stops_a_program_with_these_words() {
    require!(Suite::under_test().command("postcat").is_some(), "needs a command that reads all of main.cf");
    let instance = instance("main-cf-faults");
    let original = main_cf(&instance);
    for (text, expected) in FAULTS {
        append(&instance, &original, text);
        let outcome = instance.run("postcat", &["/dev/null"]);
        assert_eq!(outcome.status, Some(1), "{text}: {}", outcome.err());
        assert!(outcome.err().contains(expected), "{text}: {} without {expected}", outcome.err());
    }
}

#[test]
fn postconf_shows_values_as_written_and_expanded() {
    require!(Suite::under_test().command("postconf").is_some(), "needs postconf");
    let instance = instance("postconf-values");
    let original = main_cf(&instance);
    append(&instance, &original, "mail_name = My   $kind\n  Mail\nkind = own\nmyhostnam = x");
    for (arguments, expected) in [
        (&["mail_name"][..], "mail_name = My $kind Mail\n"),
        (&["-xh", "mail_name"], "My own Mail\n"),
        (&["-d", "mail_name", "ipc_timeout"], "mail_name = Postfix\nipc_timeout = 3600s\n"),
        (&["-C", "user"], "kind = own\n"),
    ] {
        let outcome = instance.run("postconf", arguments);
        assert_eq!((outcome.out().as_str(), outcome.status), (expected, Some(0)), "{arguments:?}");
    }
    let outcome = instance.run("postconf", &["-n", "nosuch"]);
    assert!(outcome.err().contains("/main.cf: unused parameter: myhostnam=x"), "{}", outcome.err());
    assert!(outcome.err().contains("warning: nosuch: unknown parameter\n"), "{}", outcome.err());
}

#[test]
fn postconf_changes_main_cf_and_keeps_the_rest() {
    require!(Suite::under_test().command("postconf").is_some(), "needs postconf");
    let instance = instance("postconf-edit");
    let original = main_cf(&instance);
    append(&instance, &original, "# before\nmail_name = a\n # between\n  b\nmax_use = 7");
    assert_eq!(instance.run("postconf", &["mail_name = c  d", "ipc_ttl=9"]).status, Some(0));
    assert_eq!(instance.run("postconf", &["-#", "max_use"]).status, Some(0));
    let expected = format!("{original}# before\nmail_name = c  d\n # between\n#max_use = 7\nipc_ttl = 9\n");
    assert_eq!(main_cf(&instance), expected);
}

/// Settings in master.cf: names of the service, entries for one service, mistakes in values.
#[test]
fn postconf_sees_settings_of_master_cf_as_their_service() {
    let instance = instance("postconf-services");
    let path = instance.home().join("etc/master.cf");
    let smtp = "smtp inet n - n - - smtpd";
    type Case<'a> = (&'a str, &'a [&'a str], i32, &'a str, &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        // The program and the name of the entry, though postconf runs.
        (
            " -o smtpd_banner=$process_name:$service_name",
            &["-Px"],
            0,
            "smtp/inet/smtpd_banner = smtpd:smtp\n",
            &[],
        ),
        (
            " -o smtpd_banner=$process_name",
            &["-Mx"],
            0,
            "smtp       inet  n       -       n       -       -       smtpd -o smtpd_banner=smtpd\n",
            &[],
        ),
        (
            " -o smtpd_banner=$process_name",
            &["-Fxh", "smtp/inet/command"],
            0,
            "smtpd -o smtpd_banner=smtpd\n",
            &[],
        ),
        // Entries for one service share their settings, and the last counts.
        (
            " -o smtpd_banner=$own -o own=1\nSMTP -o own=2\n",
            &["-Px"],
            0,
            "smtp/inet/own = 2\nsmtp/inet/smtpd_banner = 2\nsmtp/inet/own = 2\nsmtp/inet/smtpd_banner = 2\n",
            &[],
        ),
        (
            "\nSMTP -o own=1\nSMTP",
            &["-P"],
            0,
            "smtp/inet/own = 1\nsmtp/inet/own = 1\n",
            &["unused parameter: own=1"],
        ),
        // Mistakes in what nobody asks for are told, and no more.
        (" -o own=a$", &["-h", "mail_name"], 0, "Postfix\n", &["empty macro name: \"a$\"", "own=a$"]),
        (
            " -o own=${x",
            &["-h", "mail_name"],
            0,
            "Postfix\n",
            &["truncated macro reference: \"${x\"", "own=${x"],
        ),
        (
            " -o smtpd_banner=${x",
            &["-h", "mail_name"],
            1,
            "",
            &["truncated macro reference: \"${x\"", "error"],
        ),
        // An entry does not see main.cf when it names classes.
        (" -o smtpd_restriction_classes=$myhostname", &["-h", "mail_name"], 0, "Postfix\n", &[]),
        (
            " -o smtpd_restriction_classes=one",
            &["-h", "mail_name"],
            0,
            "Postfix\n",
            &["undefined parameter: one"],
        ),
        // Names that were given up have an empty default.
        ("", &["virtual_maps"], 0, "virtual_maps =\n", &[]),
    ];
    for (rest, arguments, status, expected, warnings) in cases {
        fs::write(&path, format!("{smtp}{}\n", rest.replace("SMTP", smtp))).expect("a file of our own");
        let outcome = instance.run("postconf", arguments);
        assert_eq!((outcome.out().as_str(), outcome.status), (*expected, Some(*status)), "{rest}");
        // What this instance's own main.cf has in it is of no interest.
        let err = outcome.err();
        let told = err.lines().filter(|line| !line.contains("maillog_file_prefixes")).count();
        assert!(warnings.iter().all(|part| err.contains(part)), "{rest}: {err}");
        assert!(told > 0 || warnings.is_empty(), "{rest}: {err}");
        assert!(told == 0 || !warnings.is_empty(), "{rest}: {err}");
    }
}

/// Which of several options that exclude each other are named, and what `name=value` means behind which of them.
#[test]
fn postconf_names_the_options_that_exclude_each_other() {
    let instance = instance("postconf-options");
    let one = "specify one of";
    for (words, expected) in [
        ("-l -P -M", format!("{one} -l -M -P")),
        ("-M -b -t", format!("{one} -b and -t")),
        ("-A -a -b", format!("{one} -a -A -b")),
        ("-d -e -n", format!("{one} -d -e -n")),
        ("-X -e -#", format!("{one} -e -X -#")),
        ("-d -o a=b -X", format!("{one} -d -X")),
        ("-h -x a=b", format!("{one} -e -x")),
        ("-x -f -X", format!("{one} -f -X")),
        ("-f -X -#", format!("{one} -X -#")),
        ("-h -H -X", format!("{one} -h -H -X")),
        ("-e -h -o a=b", format!("{one} -e -o")),
        ("-M -d -e", format!("{one} -d -e")),
        ("-a -h -H", format!("{one} -h -H")),
        ("-M -n -H", "with option -M, do not specify -H -n".into()),
        ("-a -# a=b", "with option -a, do not specify -#".into()),
        ("-m -x -o a=b -H", "with option -m, do not specify -H -o -x".into()),
    ] {
        let outcome = instance.run("postconf", &words.split(' ').collect::<Vec<_>>());
        let said = outcome.err();
        let said = said.split_once(": fatal: ").map_or("", |(_, said)| said.trim_end());
        assert_eq!((outcome.status, said), (Some(1), &*expected), "{words}");
    }
    let locks = instance.run("postconf", &["-l", "a=b"]);
    assert_eq!((locks.status, &*locks.out()), (Some(0), "flock\nfcntl\ndotlock\n"));
}

/// What it says of files that make no sense, and of requests: each with what is added to main.cf and to an entry of
/// master.cf, arguments, status, and the text on stderr. That file and line stand behind it in Postern does not matter.
#[test]
fn postconf_says_what_makes_no_sense() {
    let instance = instance("postconf-words");
    let plain = main_cf(&instance);
    type Case<'a> = (&'a str, &'a str, &'a [&'a str], i32, &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        // Braces in values of any parameter that is known, and what is inside of them.
        (
            "ipc_ttl=b {a {b",
            "",
            &["-M"],
            0,
            &["warning: main.cf: missing '}' in \"{a {b\"", "warning: main.cf: missing '}' in \"{b\""],
        ),
        (
            "relay_domains=unionmap:{a}b",
            "",
            &["-M"],
            0,
            &["warning: main.cf: syntax error after '}' in \"{a}b\""],
        ),
        ("foo={a", " -o max_idle=$foo", &["-M"], 0, &["warning: master.cf:smtp/inet: missing '}' in \"{a\""]),
        // Each byte of other alphabets is a question mark.
        ("", "", &["x\u{e9}"], 0, &["warning: x??: unknown parameter"]),
        ("", " {\u{e9}", &["-M"], 0, &["warning: master.cf: missing '}' in \"{??\""]),
        // Of entries master.cf is read first, and main.cf when that makes sense.
        ("junk", "\nx", &["-M"], 1, &["fatal: file HOME/etc/master.cf: line 2: bad field count"]),
        (
            "junk",
            "\nx",
            &["-n"],
            1,
            &["fatal: HOME/etc/main.cf, line N: missing '=' after attribute name: \"junk\""],
        ),
        (
            "",
            "\nx inet n - n {a b} - smtpd",
            &["-M"],
            1,
            &["fatal: invalid wakeup field \"{a b}\" in \"x inet n - n {a b} - smtpd\""],
        ),
        ("", "\nx inet n - n ? - smtpd", &["-M", "x"], 0, &[]),
        (
            "",
            "\nx",
            &["-MX", "smtp/inet"],
            1,
            &["fatal: file HOME/etc/master.cf: line 2: specify service name and type on the same line"],
        ),
        // Slashes of any number; a value that a field cannot have counts only where it is set.
        ("", "", &["-M", "smtp//inet/"], 0, &[]),
        ("", "", &["-P", "//"], 1, &["fatal: -P option requires service_name[/type[/parameter]]"]),
        (
            "",
            "",
            &["-Fe", "x/unix/private=z"],
            0,
            &["warning: unmatched service_name/type: \"x/unix/private=z\""],
        ),
        ("", "", &["-Fe", "smtp/inet/private=z"], 1, &["fatal: invalid private field \"z\" in \"z\""]),
        ("", "", &["-M#", "smtp/inet", "a=b"], 1, &["fatal: -X or -# requires names without value"]),
        ("", "", &["-Me", "x/unix=a b", "x"], 1, &["fatal: missing '=' after attribute name: \"x\""]),
        // What the program that knows the templates would say.
        ("", "", &["-b", "a", "b"], 1, &["fatal: options -b and -t require at most one template file"]),
        ("", "", &["-t", "-t"], 1, &["fatal: specify one of -b and -t"]),
        ("mail_name=", "", &["-b"], 1, &["fatal: bad string length 0 < 1: mail_name = "]),
        ("mail_name=", "", &["-m"], 1, &["fatal: bad string length 0 < 1: mail_name = "]),
        // Classes are needed before all else.
        (
            "smtpd_restriction_classes=${",
            "",
            &["-n"],
            1,
            &[
                "warning: truncated macro reference: \"${\"",
                "fatal: dictionary mail_dict: macro processing error",
            ],
        ),
        (
            "",
            " -o smtpd_restriction_classes=${",
            &["-n"],
            1,
            &[
                "warning: truncated macro reference: \"${\"",
                "fatal: dictionary smtp/inet: macro processing error",
            ],
        ),
        // Once for each entry that has it.
        (
            "",
            " -o xx=1\nSMTP",
            &["-M"],
            0,
            &[
                "warning: HOME/etc/master.cf: unused parameter: xx=1",
                "warning: HOME/etc/master.cf: unused parameter: xx=1",
            ],
        ),
    ];
    let home = instance.home().to_string_lossy().into_owned();
    let last = format!("line {}", plain.lines().count() + 1);
    for (main, rest, arguments, status, expected) in cases {
        append(&instance, &plain, main);
        let smtp = "smtp inet n - n - - smtpd";
        let entries = format!("{smtp}{}\n", rest.replace("SMTP", smtp));
        fs::write(instance.home().join("etc/master.cf"), entries).expect("a file of our own");
        let outcome = instance.run("postconf", arguments);
        let said = outcome.err();
        let lines = said.lines().filter_map(|line| line.split_once("postconf: ").map(|(_, text)| text));
        // What this instance's own main.cf has in it is of no interest.
        let lines = lines.filter(|text| !text.contains("maillog_file_prefixes")).map(|text| {
            let text = text.replace(&home, "HOME").replace(&last, "line N");
            text.split(" (HOME/").next().unwrap_or_default().to_owned()
        });
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines, *expected, "{main} {rest} {arguments:?}");
        assert_eq!(outcome.status, Some(*status), "{main} {rest} {arguments:?}");
    }
    let said = instance.run("postconf", &["-E", "-m"]).err();
    assert!(said.contains("fatal: usage: ") && !said.contains("invalid option"), "{said}");
}

/// Debian's packages take the name from the first line of a file.
#[test]
fn myorigin_in_a_file() {
    let mut plan = Plan::new("configuration-origin");
    plan.main_cf("myorigin = $queue_directory/../etc/mailname\n").set("smtpd_banner", "$myorigin");
    let instance = plan.prepare();
    let text = " origin.test \r\nother.test\n";
    fs::write(instance.home().join("etc/mailname"), text).expect("our own folder");
    assert_eq!(instance.start_master(&["-w"]).status, Some(0), "{}", instance.log_text());
    let mut client = Client::connect(instance.smtp_port());
    // In other parameters it stays what was written.
    let shown = format!("220 {}/spool/../etc/mailname", instance.home().display());
    assert_eq!(client.greeting().text(), shown);
    for command in ["EHLO client.example.net", "MAIL FROM:<alice>", "RCPT TO:<bob>", "DATA"] {
        client.command(command);
    }
    assert_eq!(client.command("Subject: x\r\n\r\nx\r\n.").code, 250, "{}", instance.log_text());
    let records = instance.queue("incoming")[0].records().join("\n");
    assert!(records.contains("alice@origin.test") && records.contains("bob@origin.test"), "{records}");
}
