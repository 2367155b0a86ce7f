//! What commands say to an ordinary user who may not do what he asks for: the reason, in Postfix's words, on stderr.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use conformance::{Instance, Outcome, Plan, Suite, require};

const UID: &str = "65534";

/// Whether there is another user to be, and all commands are of one suite.
fn possible() -> bool {
    nix::unistd::Uid::current().is_root()
        && matches!(Suite::under_test(), Suite::Postfix | Suite::Postern)
        && Path::new("/usr/bin/setpriv").exists()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own file");
}

/// Runs a command as an ordinary user.
fn run(instance: &Instance, words: &[&str]) -> Outcome {
    let command = instance.suite().command(words[0]).expect("each suite has one");
    let (user, group) = (format!("--reuid={UID}"), format!("--regid={UID}"));
    let command = command.to_string_lossy();
    let words = [&[&user, &group, "--clear-groups", &*command][..], &words[1..]].concat();
    instance.run_path(Path::new("/usr/bin/setpriv"), &words, b"k: v\n")
}

/// What is on stderr, with HOME for the instance's folder, without the folder of the command and without our file and line.
fn said(instance: &Instance, outcome: &Outcome) -> Vec<String> {
    let home = instance.home().display().to_string();
    let line = |line: &str| {
        let line = line.replace(&home, "HOME");
        let line = line.split_once(" (HOME/etc/").map_or(line.as_str(), |(text, _)| text).to_owned();
        let place = line.find(": ").unwrap_or_default();
        let start = line[..place].rfind('/').map_or(0, |slash| slash + 1);
        line[start..].to_owned()
    };
    outcome.err().lines().map(line).collect()
}

const NO_POSTSUPER: &str = "postsuper: fatal: use of this command is reserved for the superuser";
const NO_POSTFIX: [&str; 2] = [
    "postfix: error: to submit mail, use the Postfix sendmail command",
    "postfix: fatal: the postfix command is reserved for the superuser",
];

/// That he is not the superuser comes before anything about options, main.cf, the queue and the log. Postfix's `postfix`
/// says it on a terminal alone.
#[test]
fn what_is_the_superusers() {
    require!(possible(), "only root can be another user, and a mixture has no commands of its own");
    let instance = Plan::new("ordinary-superuser").prepare();
    let (main_cf, log) = (instance.home().join("etc/main.cf"), instance.home().join("log"));
    let is_ours = instance.suite().is_ours("postfix");
    let check = |obstacle: &str| {
        for words in [&["postsuper"][..], &["postsuper", "-Z"], &["postsuper", "-d", "ALL"]] {
            let outcome = run(&instance, words);
            assert_eq!(
                (outcome.status, said(&instance, &outcome)),
                (Some(1), vec![NO_POSTSUPER.to_owned()]),
                "{obstacle}: {words:?}"
            );
        }
        for words in
            [&["postfix", "check"][..], &["postfix", "start"], &["postfix", "-Z"], &["postfix", "bogus"]]
        {
            let outcome = run(&instance, words);
            let want: &[&str] = if is_ours { &NO_POSTFIX } else { &[] };
            assert_eq!(
                (outcome.status, said(&instance, &outcome)),
                (Some(1), want.iter().map(|line| (*line).to_owned()).collect()),
                "{obstacle}: {words:?}"
            );
        }
    };
    check("none");
    fs::write(&log, "").expect("our own folder");
    set_mode(&log, 0o600);
    check("log");
    set_mode(&main_cf, 0o600);
    check("main.cf");
    set_mode(&main_cf, 0o644);
    let text = fs::read_to_string(&main_cf).expect("laid out");
    for line in ["garbage", "mail_owner = nosuch", "message_size_limit = x"] {
        instance.edit_main_cf(|_| format!("{text}{line}\n"));
        check(line);
    }
    instance.edit_main_cf(|_| text);
    fs::rename(instance.queue_directory(), instance.home().join("moved")).expect("our own folder");
    check("queue");
}

/// Files that he may not read or write, with a log that he may not write.
#[test]
fn files_out_of_reach() {
    require!(possible(), "only root can be another user, and a mixture has no commands of its own");
    let instance = Plan::new("ordinary-files").prepare();
    let path = |name: &str| instance.home().join(name);
    fs::write(path("log"), "").expect("our own folder");
    set_mode(&path("log"), 0o600);
    fs::write(path("secret"), "k v\n").expect("our own folder");
    fs::write(path("table"), "k v\n").expect("our own folder");
    let name = |kind: &str, name: &str| format!("{kind}:{}", path(name).display());
    for kind in ["hash", "btree", "lmdb"] {
        for file in ["secret", "table"] {
            assert_eq!(instance.run("postmap", &[&name(kind, file)]).status, Some(0));
        }
    }
    for file in ["secret", "secret.db", "secret.lmdb"] {
        set_mode(&path(file), 0o600);
    }
    fs::create_dir(path("dir")).expect("our own folder");
    set_mode(&path("dir"), 0o700);
    fs::create_dir(path("folder.db")).expect("our own folder");
    for (words, reason) in [
        ("postmap hash:secret", "open HOME/secret: Permission denied"),
        ("postmap hash:table", "open HOME/table.db: Permission denied"),
        ("postmap lmdb:table", "open database HOME/table.lmdb: Permission denied"),
        ("postmap cdb:table", "open database HOME/table.cdb.tmp: Permission denied"),
        ("postmap hash:nosuch", "open HOME/nosuch: No such file or directory"),
        ("postmap -i hash:table", "open HOME/table.db: Permission denied"),
        ("postalias -i btree:table", "open HOME/table.db: Permission denied"),
        ("postmap -i hash:secret", "open HOME/secret.db: Permission denied"),
        ("postmap -i hash:dir/x", "open HOME/dir/x.db: Permission denied"),
        ("postmap -i hash:folder", "open HOME/folder.db: Is a directory"),
        ("postmap -i hash:new", "open database HOME/new.db: Permission denied"),
        ("postmap -i lmdb:table", "open database HOME/table.lmdb: Permission denied"),
        ("postmap -s hash:secret", "open database HOME/secret.db: Permission denied"),
        ("postmap -q k hash:secret", "open database HOME/secret.db: Permission denied"),
        ("postmap -q k texthash:secret", "open database HOME/secret: Permission denied"),
        ("postmap -q k regexp:secret", "open HOME/secret: Permission denied"),
        ("postmap -d k hash:secret", "open database HOME/secret.db: Permission denied"),
        ("postmap -d k hash:table", "open database HOME/table.db: Permission denied"),
        ("postmap -d k nosuch:table", "unsupported dictionary type: nosuch"),
        ("postalias hash:secret", "open HOME/secret: Permission denied"),
        ("postcat -q ABC123", "open queue file ABC123: Permission denied"),
        ("postcat secret", "open HOME/secret: Permission denied"),
        ("postconf -e a=b", "open HOME/etc/main.cf.tmp: Permission denied"),
    ] {
        let words: Vec<_> = words
            .split(' ')
            .map(|word| match word.split_once(':') {
                Some((kind, file)) => name(kind, file),
                None if word == "secret" => path(word).display().to_string(),
                None => word.to_owned(),
            })
            .collect();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let outcome = run(&instance, &words);
        let want = format!("{}: fatal: {reason}", words[0]);
        assert_eq!((outcome.status, said(&instance, &outcome)), (Some(1), vec![want]), "{words:?}");
    }
    // A queue that he may read is not kept from him by those that he may not.
    set_mode(&instance.queue_directory().join("saved"), 0o755);
    let outcome = run(&instance, &["postcat", "-q", "ABC123"]);
    let want = "postcat: fatal: open queue file ABC123: No such file or directory";
    assert_eq!((outcome.status, said(&instance, &outcome)), (Some(1), vec![want.to_owned()]));
}

/// postconf needs main.cf for the types of tables, and no master.cf for bounce templates.
#[test]
fn files_of_the_configuration() {
    require!(possible(), "only root can be another user, and a mixture has no commands of its own");
    let instance = Plan::new("ordinary-configuration").prepare();
    set_mode(&instance.home().join("etc/master.cf"), 0o600);
    let outcome = run(&instance, &["postconf", "-M"]);
    let want = "postconf: fatal: open HOME/etc/master.cf: Permission denied";
    assert_eq!((outcome.status, said(&instance, &outcome)), (Some(1), vec![want.to_owned()]));
    for words in [&["postconf", "-t"][..], &["postconf", "-m"]] {
        let outcome = run(&instance, words);
        let said = said(&instance, &outcome);
        let no_bounce = said.len() == 1 && said[0].contains("execute ");
        assert!(outcome.status == Some(0) || no_bounce, "{words:?}: {outcome:?}");
    }
    set_mode(&instance.home().join("etc/main.cf"), 0o600);
    let want = "open HOME/etc/main.cf: Permission denied";
    for (words, status) in [
        (&["postconf", "-m"][..], 1),
        (&["postconf", "-n"], 1),
        (&["postconf", "-t"], 1),
        (&["postqueue", "-p"], 69),
        (&["postmap", "-q", "k", "inline:{k=v}"], 1),
        (&["sendmail", "-bp"], 75),
        (&["postcat", "x"], 1),
        (&["postkick", "public", "pickup", "W"], 1),
    ] {
        let outcome = run(&instance, words);
        let want = vec![format!("{}: fatal: {want}", words[0])];
        assert_eq!((outcome.status, said(&instance, &outcome)), (Some(status), want), "{words:?}");
    }
}
