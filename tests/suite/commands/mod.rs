//! The commands' own words: what they say of wrong command lines, of long ones, and of a mail system that is down.

mod beside;
mod databases;
mod postconf;
mod random;
mod sendmail;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixListener};

use conformance::{Instance, Outcome, Plan, Suite, require, version_at_least};
use nix::unistd::{Uid, User};

/// Whether all commands are of one suite: each mixture has the commands of Postfix or of Postern.
fn possible() -> bool {
    matches!(Suite::under_test(), Suite::Postfix | Suite::Postern)
}

/// An instance that is down.
fn down(name: &str) -> Instance {
    let mut plan = Plan::new(name);
    plan.set("fast_flush_domains", "example.com");
    plan.set("export_environment", "TZ MAIL_CONFIG LANG LD_LIBRARY_PATH");
    plan.prepare()
}

/// Runs a command; mailq and newaliases by a link to sendmail.
fn run(instance: &Instance, words: &[&str]) -> Outcome {
    if !matches!(words[0], "mailq" | "newaliases") {
        return instance.run(words[0], &words[1..]);
    }
    let link = instance.home().join(words[0]);
    if !link.exists() {
        let sendmail = instance.suite().command("sendmail").expect("each suite has one");
        symlink(sendmail, &link).expect("our own folder");
    }
    instance.run_path(&link, &words[1..], b"")
}

fn assert_says(instance: &Instance, words: &[&str], status: i32, expected: &str) {
    let outcome = run(instance, words);
    // postcat goes by the name that it was called by.
    let text = outcome.err().lines().fold(String::new(), |text, line| {
        let line =
            line.split_once("/postcat: ").map_or(line.to_owned(), |(_, rest)| format!("postcat: {rest}"));
        text + &line + "\n"
    });
    assert_eq!((outcome.status, text.as_str()), (Some(status), expected), "{words:?}");
}

/// `--version` is no option of Postfix's programs.
#[test]
fn each_program_tells_its_name_and_version() {
    require!(possible(), "a mixture has no commands of its own");
    let instance = Plan::new("commands-version").start();
    let is_ours = instance.suite().is_ours("postconf");
    let version = instance.run("postconf", &["-h", "postern_version"]).out();
    assert_eq!(version.is_empty(), !is_ours);
    let list = include_str!("../../../programs").lines().filter(|line| !line.starts_with('#'));
    for line in list.filter(|line| !line.contains(" example ")) {
        let words: Vec<_> = line.split_whitespace().collect();
        let (name, kind, folder) = (words[0], words[1], words[2]);
        if !is_ours && (kind == "daemon" || matches!(name, "lmtp" | "postwhy" | "posttop" | "postern-health"))
        {
            continue;
        }
        let outcome = run(&instance, &[name, "--version"]);
        if is_ours {
            let name = if folder == "sendmail" { folder } else { name };
            let want = format!("{name} (Postern) {version}");
            assert_eq!((outcome.status, outcome.out(), outcome.err()), (Some(0), want, String::new()));
        } else {
            assert!(outcome.err().contains(": invalid option -- '-'\n"), "{name}: {}", outcome.err());
        }
    }
    let lines = instance.log_of("master");
    let at = lines.iter().position(|line| line.starts_with("daemon started -- version "));
    let next = at.and_then(|at| lines.get(at + 1)).cloned();
    let want =
        is_ours.then(|| format!("daemon started -- Postern version {}, as Postfix 3.7", version.trim_end()));
    assert_eq!(next, want, "{lines:?}");
    // Nobody can set it, and nobody has.
    if is_ours {
        let outcome = instance.run("postconf", &["-n", "postern_version"]);
        assert_eq!((outcome.status, outcome.out()), (Some(0), String::new()));
        assert_eq!(instance.run("postconf", &["-dh", "postern_version"]).out(), version);
        instance.edit_main_cf(|text| text + "postern_version = 7\n");
        let outcome = instance.run("postconf", &["-h", "postern_version"]);
        assert_eq!(outcome.out(), version);
        assert!(outcome.err().contains("read-only parameter assignment: postern_version=7"));
    }
}

#[test]
fn a_mail_system_that_is_down() {
    require!(possible(), "a mixture has no commands of its own");
    let instance = down("commands-down");
    let flush = "postqueue: fatal: Cannot flush mail queue - mail system is down\n";
    let no_flush = format!("postqueue: warning: connect to public/flush: No such file or directory\n{flush}");
    let no_showq = "postqueue: warning: Mail system is down -- accessing queue directly \
                    (Connect to the Postfix showq service: No such file or directory)\n";
    let missing =
        format!("postqueue: warning: unable to look up public/qmgr: No such file or directory\n{flush}");
    for (words, status, expected) in [
        (&["postqueue", "-f"][..], 69, missing.as_str()),
        (&["sendmail", "-q"], 69, &missing),
        (&["mailq", "-q"], 69, &missing),
        (&["postqueue", "-p"], 0, no_showq),
        (&["mailq"], 0, no_showq),
        (&["postqueue", "-i", "ABC123"], 69, &no_flush),
        (&["postqueue", "-s", "example.com"], 69, &no_flush),
        (
            &["postqueue", "-s", "other.example"],
            69,
            "postqueue: fatal: Flush service is not configured for destination \"other.example\"\n",
        ),
        (
            &["postkick", "public", "/pickup", "W"],
            1,
            "postkick: warning: unable to look up public//pickup: No such file or directory\n\
             postkick: warning: Cannot contact class public service /pickup - perhaps the mail system is down\n",
        ),
    ] {
        if words.contains(&"-p") || words == ["mailq"] {
            // An ordinary user's instance says nothing here: it may read its own queue.
            require!(nix::unistd::Uid::current().is_root(), "only root's queue is read for root");
        }
        assert_says(&instance, words, status, expected);
    }
    // What a mail system that died has left behind, and what never was a service.
    let socket = instance.queue_directory().join("public/qmgr");
    drop(UnixListener::bind(&socket).expect("a new folder"));
    assert_says(&instance, &["postqueue", "-f"], 69, flush);
    fs::remove_file(&socket).expect("our own");
    fs::write(&socket, "").expect("our own folder");
    let odd = format!("postqueue: warning: public/qmgr is not a socket or a fifo\n{flush}");
    assert_says(&instance, &["postqueue", "-f"], 69, &odd);
}

#[test]
fn wrong_command_lines() {
    require!(possible(), "a mixture has no commands of its own");
    let instance = down("commands-wrong");
    let long = "x".repeat(300);
    let cut = "x".repeat(100);
    let usage = "postqueue: fatal: usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p \
                 | postqueue -s site\n";
    for (words, status, expected) in [
        // The first wrong thing counts.
        (&["postqueue", "-f", "-p", "-Z"][..], 69, usage),
        (
            &["postqueue", "-i", &long],
            69,
            &format!("postqueue: fatal: Cannot flush queue ID - invalid name: \"{cut}...\"\n"),
        ),
        (
            &["postqueue", "-s", &long],
            69,
            &format!("postqueue: fatal: Cannot flush mail queue - invalid destination: \"{cut}...\"\n"),
        ),
        (&["mailq", "x"], 75, "mailq: fatal: display queue mode requires no recipient\n"),
        (&["newaliases", "-t"], 75, "newaliases: fatal: -t can be used only in delivery mode\n"),
        (
            &["mailq", "-1"],
            75,
            "mailq: invalid option -- '1'\nmailq: invalid option -- '1'\nmailq: fatal: usage: mailq [options]\n",
        ),
        (
            &["sendmail", "-f", "x", "-q", "y"],
            75,
            "sendmail: fatal: flush queue mode requires no recipient\n",
        ),
        (
            &["sendmail", "-v", "-U", "-oem", "-oi", "-L", "x", "-bp", "x"],
            75,
            "sendmail: -U option ignored\nsendmail: -oe option ignored\nsendmail: -L option ignored\n\
             sendmail: fatal: display queue mode requires no recipient\n",
        ),
        (
            &["sendmail", "-V", "", "-bz"],
            75,
            "sendmail: warning: bad syntax in -V option value -- ignored\nsendmail: fatal: unsupported: -bz\n",
        ),
        (
            &["sendmail", "-V+=", "-bz"],
            75,
            "sendmail: warning: option -V+= is deprecated with Postfix 2.3; specify -XV+= instead\n\
             sendmail: fatal: unsupported: -bz\n",
        ),
        (&["sendmail", "-XV+", "-bz"], 75, "sendmail: fatal: -V requires two characters from -=+\n"),
        (
            &["sendmail", "-v", "-o7", "-o8bit", "-om", "-o9", "-bz"],
            75,
            "sendmail: -o9 option ignored\nsendmail: fatal: unsupported: -bz\n",
        ),
        // What an option does depends on the word that it is in, and on what comes behind it.
        (&["sendmail", "-X", "V"], 75, "sendmail: fatal: -V requires two characters from -=+\n"),
        (&["sendmail", "-iXV"], 75, "sendmail: fatal: -V requires two characters from -=+\n"),
        (&["sendmail", "-f", "-q", "-bz"], 75, "sendmail: fatal: unsupported: -bz\n"),
        (&["sendmail", "-q", "-bp", "x"], 75, "sendmail: fatal: display queue mode requires no recipient\n"),
        (&["sendmail", "-bh", "-bv"], 0, ""),
        (&["sendmail", "-bp", "-bv", "x"], 75, "sendmail: fatal: display queue mode requires no recipient\n"),
        (&["sendmail", "-q30m", "-t"], 0, ""),
        (&["sendmail", "-bi", "-q30m", "x"], 0, ""),
        (&["sendmail", "-q30m", "-bz"], 75, "sendmail: fatal: unsupported: -bz\n"),
        // At once, whatever is wrong with the rest.
        (
            &["postmap", "-q", "a", "-d", "b", "-c", "/nosuch"],
            1,
            "postmap: fatal: specify only one of -s -q or -d\n",
        ),
        (
            &["postalias", "-q", "a", "-d", "b", "-z"],
            1,
            "postalias: fatal: specify only one of -s -q or -d\n",
        ),
        // Options of later versions.
        (
            &["postalias", "-j", "hash:x"],
            1,
            "postalias: invalid option -- 'j'\npostalias: fatal: usage: postalias [-Nfinoprsuvw] [-c config_dir] [-d key] \
             [-q key] [map_type:]file...\n",
        ),
        (&["postmap", "-s"], 1, ""),
        (&["postalias", "-s"], 1, ""),
        (&["postcat", "-q"], 0, ""),
        (&["postcat", "/"], 0, "postcat: warning: close /: Is a directory\n"),
    ] {
        assert_says(&instance, words, status, expected);
    }
    let outcome = instance.run_with_input("postcat", &[], b"key value\n");
    assert!(outcome.err().ends_with("warning: stdin: input is not a valid queue file\n"), "{outcome:?}");
    assert_eq!(outcome.status, Some(0));
    let socket = UnixDatagram::bind(instance.queue_directory().join("public/postlog")).expect("a new folder");
    if nix::unistd::Uid::current().is_root() {
        for (words, status, expected) in [
            // Names of directories are looked at when something is to be done there.
            (
                &["postsuper", "-h", "<>", "nosuch"][..],
                0,
                "postsuper: warning: invalid mail queue id: <>\npostsuper: Placed on hold: 0 messages\n",
            ),
            (
                &["postsuper", "-h", "ABC123", "nosuch"],
                1,
                "postsuper: fatal: invalid directory name: nosuch\n",
            ),
            (
                &["postsuper", "-f", "<>"],
                0,
                "postsuper: warning: invalid mail queue id: <>\npostsuper: warning: invalid mail queue id: <>\n\
                 postsuper: Force-expired: 0 messages\npostsuper: Released from hold: 0 messages\n",
            ),
        ] {
            assert_says(&instance, words, status, expected);
            let mut buffer = [0; 5000];
            socket.set_nonblocking(true).expect("a socket");
            while socket.recv(&mut buffer).is_ok() {}
            socket.set_nonblocking(false).expect("a socket");
        }
    }
    // The log has the program's name, whatever it was called by, and bounded lines.
    let received = || {
        let mut buffer = vec![0; 200_000];
        let count = socket.recv(&mut buffer).expect("a line");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    run(&instance, &["mailq", "x"]);
    let line = received();
    assert!(line.contains(" postfix/sendmail["), "{line}");
    instance.run("postlog", &["-t", "a\tb", &"x".repeat(90_000)]);
    let line = received();
    assert!(
        line.ends_with(&"x".repeat(2000)) && line.contains(" a?b[") && line.len() < 2100,
        "{}",
        line.len()
    );
}

/// Where postconf computes a default it knows what main.cf sets, and no default yet; and what it tells of all entries of a
/// service it tells once.
#[test]
fn what_postconf_tells_once_or_does_not_know_yet() {
    require!(possible(), "a mixture has no commands of its own");
    let instance = down("commands-defaults");
    for (value, expected) in [
        ("$mail_name", "\n"),
        ("$mail_version", "\n"),
        ("127.0.0.1 $syslog_name", "127.0.0.1/32\n"),
        ("${mail_name?127.0.0.1}", "\n"),
        ("$own", "127.0.0.1/32\n"),
    ] {
        instance.edit_main_cf(|text| {
            let kept = text.lines().filter(|line| {
                !["mynetworks =", "inet_interfaces =", "own ="].iter().any(|name| line.starts_with(name))
            });
            let kept: String = kept.map(|line| format!("{line}\n")).collect();
            format!("{kept}own = 127.0.0.1\ninet_interfaces = {value}\n")
        });
        let outcome = instance.run("postconf", &["-h", "mynetworks"]);
        assert_eq!((outcome.status, outcome.out()), (Some(0), expected.to_owned()), "{value}: {outcome:?}");
    }
    instance.edit_master_cf(|text| {
        let entry = |setting: &str| format!("again unix n - n - - showq{setting}\n");
        text + &entry(" -o own=x") + &entry(" -o process_name=z") + &entry("")
    });
    let told = instance.run("postconf", &["-n"]).err();
    assert_eq!(told.matches("read-only parameter assignment: process_name=z").count(), 1, "{told}");
}

/// What a user may be is a matter of `local_login_sender_maps`, without the extension of the address.
#[test]
fn senders_of_a_login_name() {
    let mut plan = Plan::new("login-senders");
    plan.set("recipient_delimiter", "+").set("local_login_sender_maps", "");
    let instance = plan.start();
    let login = User::from_uid(Uid::effective()).ok().flatten().map_or_else(String::new, |user| user.name);
    // Few that are refused: the command takes its time over it.
    for (map, allowed, refused) in [
        ("", &[][..], &["alice@example.com"][..]),
        ("static:*", &["alice", ""], &[]),
        ("inline:{LOGIN=alice@example.com}", &["ALICE@EXAMPLE.COM", "alice+x@example.com"], &["alice"]),
        ("inline:{{LOGIN=alice@example.com, @Example.ORG <>}}", &["x@EXAMPLE.org", ""], &["bob"]),
        ("inline:{LOGIN=alice}", &["alice"], &[]),
        ("inline:{LOGIN=<>}", &[""], &[]),
        ("inline:{{LOGIN=@mx.example.com bob+x a*}}", &[], &["bob+x"]),
        ("inline:{other=*}, inline:{LOGIN=*}", &["bob"], &[]),
        ("fail:x", &[], &["alice"]),
    ] {
        let map = map.replace("LOGIN", &login);
        instance.edit_main_cf(|text| {
            let lines = text.lines().filter(|line| !line.starts_with("local_login_sender_maps"));
            let others: String = lines.map(|line| format!("{line}\n")).collect();
            others + &format!("local_login_sender_maps = {map}\n")
        });
        for sender in allowed.iter().chain(refused) {
            let outcome = instance.run_with_input(
                "sendmail",
                &["-i", "-f", sender, "bob@example.com"],
                b"Subject: x\n\nx\n",
            );
            let told = outcome.err();
            if allowed.contains(sender) {
                assert_eq!((outcome.status, told.as_str()), (Some(0), ""), "{map} {sender}");
                continue;
            }
            let why = match map.as_str() {
                "fail:x" => "local_login_sender_maps table lookup error for 'fail:x'".to_owned(),
                _ => format!("not authorized to use sender='{sender}'"),
            };
            let line = format!("sendmail: fatal: {sender}({}): {why}\n", Uid::effective());
            assert_eq!(outcome.status, Some(75), "{map} {sender}");
            assert!(told.ends_with(&line), "{map} {sender}: {told}");
            let warning = format!("postdrop: warning: fail:x lookup error for \"{login}\"\n");
            assert_eq!(told.contains(&warning), map == "fail:x", "{told}");
        }
    }
}

/// What `sendmail` has others do, when they are not there. Starting the mail system is the child's affair.
#[test]
fn programs_that_are_not_there() {
    require!(possible(), "a mixture has no commands of its own");
    let mut plan = Plan::new("commands-missing");
    plan.set("command_directory", "/nonexistent");
    let instance = plan.prepare();
    for (words, status, program) in [
        (&["sendmail", "-bd"][..], 0, "postfix"),
        (&["sendmail", "-bp"], 75, "postqueue"),
        (&["mailq"], 75, "postqueue"),
        (&["sendmail", "-q"], 75, "postqueue"),
        (&["sendmail", "-qRexample.com"], 75, "postqueue"),
    ] {
        let name = words[0];
        let text = format!("{name}: fatal: execv /nonexistent/{program}: No such file or directory\n");
        assert_says(&instance, words, status, &text);
    }
}

/// What `-v` tells of tables and files, among much that only Postfix has.
#[test]
fn verbose_commands_tell_what_they_open() {
    require!(possible(), "a mixture has no commands of its own");
    let instance = down("commands-verbose");
    let source = instance.home().join("table");
    fs::write(&source, "a: b\n").expect("our own folder");
    let table = format!("hash:{}", source.display());
    let (source, dict) = (source.display().to_string(), format!("dict_open: {table}"));
    let open = format!("open hash {source}");
    for (words, line) in [
        (&["postmap", "-v", &table][..], &*open),
        (&["postmap", "-v", "-q", "a:", &table], &*dict),
        (&["postmap", "-v", "-s", &table], &*dict),
        (&["postmap", "-v", "-q", "x", "inline:{x=y}"], "dict_open: inline:{x=y}"),
        (&["postmap", "-v", "-d", "a:", &table], &*dict),
        (&["postalias", "-v", &table], &*open),
        (&["postalias", "-v", "-q", "a", &table], &*dict),
    ] {
        let outcome = run(&instance, words);
        assert_eq!(outcome.status, Some(0), "{words:?} {}", outcome.err());
        let wanted = format!("{}: {line}", words[0]);
        assert!(outcome.err().lines().any(|told| told == wanted), "{words:?}: {wanted}\n{}", outcome.err());
        let quiet: Vec<&str> = words.iter().copied().filter(|word| *word != "-v").collect();
        assert!(!run(&instance, &quiet).err().contains(line), "{quiet:?}");
    }
    require!(Uid::effective().is_root(), "postqueue and postdrop are verbose for root only");
    let outcome = run(&instance, &["postqueue", "-v", "-p"]);
    assert!(outcome.err().contains("postqueue: connect to subsystem public/showq: "), "{}", outcome.err());
    let outcome = instance.run("postdrop", &["-v"]);
    let told = outcome.err();
    let at = |text: &str| told.find(text).unwrap_or_else(|| panic!("{text} in {told}"));
    let queue = format!("postdrop: chdir {}\n", instance.queue_directory().display());
    assert!(
        at(&queue) < at("postdrop: open maildrop/")
            && at("open maildrop/") < at("postdrop: remove maildrop/")
    );
}

/// A command, its standard input, its status, and the line that it says after its name.
type Odd = (&'static [&'static str], &'static str, i32, &'static str);

#[rustfmt::skip]
const ODD: &[Odd] = &[
    (&["postmap", "-d", "x", ":t"], "", 1, "fatal: open dictionary: expecting \"type:name\" form instead of \":t\""),
    (&["postalias", "-d", "x", ":t"], "", 1, "fatal: open dictionary: expecting \"type:name\" form instead of \":t\""),
    (&["postmap", "-i", "proxy:hash:/x"], "", 1, "fatal: unsupported dictionary type: proxy does not support bulk-mode creation."),
    (&["postalias", "-i", "proxy:"], "", 1, "fatal: unsupported dictionary type: proxy does not support bulk-mode creation."),
    (&["postmap", "-i", "fail:x"], "# nothing\n", 0, ""),
    (&["postalias", "-i", "fail:x"], "# nothing\n", 1, "fatal: table fail:x: write error: Application error"),
    (&["postmap", "-i", "fail:x"], "a b\n", 1, "fatal: table fail:x: write error: Application error"),
    (&["postmap", "-d", "x", "lmdb:HOME/made"], "", 1, ""),
    (&["postmap", "-d", "x", "lmdb:/nonexistent/t"], "", 1, "fatal: open database /nonexistent/t.lmdb: No such file or directory"),
    (&["postcat", "-c", "\u{e9}"], "", 1, "fatal: open ??/main.cf: No such file or directory"),
    (&["postkick", "-c", "\u{e9}", "a", "b", "c"], "", 1, "fatal: open ??/main.cf: No such file or directory"),
    (&["postconf", "-T", "x", "-T", "y"], "", 1, "fatal: At most one -T <mode> option may be specified"),
];

#[test]
fn tables_and_folders_that_are_none() {
    require!(possible(), "a mixture has no commands of its own");
    require!(!version_at_least(3, 10), "the words of 3.7");
    let instance = down("commands-odd");
    let home = instance.home().display().to_string();
    for (words, input, status, text) in ODD {
        let words: Vec<String> = words.iter().map(|word| word.replace("HOME", &home)).collect();
        let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let outcome = instance.run_with_input(&words[0], &arguments, input.as_bytes());
        let said = outcome.err();
        let said = said.trim_end().rsplit_once(&format!("{}: ", words[0])).map_or("", |(_, text)| text);
        assert_eq!((outcome.status, said), (Some(*status), *text), "{words:?}: {}", outcome.err());
    }
    // The library's own doing.
    assert!(instance.home().join("made.lmdb").exists());
}
