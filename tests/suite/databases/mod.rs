//! Tables of database servers: the same keys through Postfix's clients and through Postern's, with real servers.

mod daemons;
mod ldap;
mod ldap_logins;
mod ldap_security;
mod memcache;
mod memcache_random;
mod mysql;
mod pgsql;
mod pools;
mod projects;
mod security_settings;
mod settings;
mod sql_security;
mod wrappers;

use std::env;
use std::fmt::Write;
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use conformance::{Client, Dice, Instance, Plan, Suite};

/// Parameters after those of the server, a key, what `postmap -q` prints, and what it complains of. `TABLE` is the
/// table's name, `FILE` its file.
type Case<'a> = (&'a str, &'a str, &'a str, &'a str);

/// Whether the suite under test has tables of this type.
fn has_type(instance: &Instance, kind: &str) -> bool {
    instance.run("postconf", &["-m"]).out().lines().any(|known| known == kind)
}

/// Cases at once: a fatal error takes a second, and more of them would keep a busy machine from answering in time.
const AT_ONCE: usize = 16;

/// Looks up the key of each case, many at once. Tells what is wrong with the answers.
fn differences(instance: &Instance, kind: &str, server: &str, cases: &[Case<'_>]) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let work = || {
        let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let mine = numbers.map_while(|number| Some((number, cases.get(number)?)));
        mine.filter_map(|(number, case)| check(instance, kind, server, number, case)).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a case does not panic")).collect()
    })
}

fn check(instance: &Instance, kind: &str, server: &str, number: usize, case: &Case<'_>) -> Option<String> {
    let (settings, key, out, err) = case;
    let file = instance.home().join(format!("{kind}-{number}.cf"));
    let table = format!("{kind}:{}", file.display());
    write_aged(&file, with_server(server, settings));
    let outcome = instance.run("postmap", &["-q", key, &table]);
    let expected = err.replace("TABLE", &table).replace("FILE", &file.display().to_string());
    let complains = if err.is_empty() { outcome.err().is_empty() } else { outcome.err().contains(&expected) };
    let good = outcome.out() == *out && outcome.status == Some(i32::from(out.is_empty())) && complains;
    (!good).then(|| format!("{settings}{key}: {:?} {:?} {}", outcome.status, outcome.out(), outcome.err()))
}

/// Writes a file as if long ago: one that was changed within the last second is read again and again, for a second, with what
/// is to be complained of.
fn write_aged(path: &Path, text: impl AsRef<[u8]>) {
    fs::write(path, text).expect("a file of our own");
    let file = File::options().write(true).open(path).expect("just written");
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).expect("our own file");
}

/// The parameters of the server that a case does not set itself, and those of the case.
fn with_server(server: &str, settings: &str) -> String {
    let name = |line: &str| line.split(" =").next().unwrap_or_default().to_owned();
    let own: Vec<String> = settings.lines().map(name).collect();
    let kept = server.lines().filter(|line| !own.contains(&name(line)));
    kept.map(|line| format!("{line}\n")).collect::<String>() + settings
}

/// Whether both suites can be run here, for a comparison.
fn can_compare() -> bool {
    nix::unistd::Uid::effective().is_root() && Suite::under_test().command("postmap").is_some()
}

/// The reply to a recipient.
fn rcpt(instance: &Instance, address: &str) -> String {
    let mut client = Client::connect(instance.smtp_port());
    client.greeting();
    client.command("HELO x");
    client.command("MAIL FROM:<>");
    let reply = client.command(&format!("RCPT TO:<{address}>")).text();
    client.command("QUIT");
    reply
}

/// A key made of what is dangerous, what is far away, and what is plain.
fn random_key(dice: &mut Dice) -> String {
    const PIECES: &[&str] = &[
        "a",
        "joe",
        "o'neil",
        "'",
        "''",
        "\"",
        "\\",
        "\\'",
        "%s",
        "%",
        "_",
        ";",
        "--",
        "/*",
        "é",
        "ß",
        "İ",
        "☃",
        "😀",
        "\t",
        "\r",
        "\u{1a}",
        "\u{1}",
        "\u{7f}",
        " ",
        "@",
        ".",
        "example.com",
        "..",
        "OR 1=1",
        "`",
        "#",
        "(",
        ")",
        "\u{a0}",
        "A",
        "Z",
    ];
    let mut key = String::new();
    for _ in 0..=dice.below(6) {
        key += *dice.one_of(PIECES);
    }
    if dice.percent(40) {
        key += *dice.one_of(&["@example.com", "@a.b.example.org", "@", "@Example.COM", "@x..y", "@.z"]);
    }
    key
}

/// A random key; some are long (longer ones do not fit into a line of slapd's log), some are no UTF-8. What is left of a
/// broken character is told otherwise (docs/differences.md), and is not among them.
fn random_bytes(dice: &mut Dice) -> Vec<u8> {
    let mut key = random_key(dice).into_bytes();
    if dice.percent(3) {
        key.extend_from_slice(&b"x".repeat(*dice.one_of(&[64, 255, 1000])));
    }
    if dice.percent(3) {
        key.extend_from_slice(dice.one_of::<&[u8]>(&[b"\xff", b"\xc3", b"\xffx", b"a\0b", b"\xc0'"]));
    }
    key
}

/// What a table makes of its values, and which keys it takes.
fn random_result(dice: &mut Dice) -> String {
    let mut text = String::new();
    if dice.percent(50) {
        let form = dice.one_of(&["%s", "<%s>", "%u", "%d", "%S:%s", "%U at %D", "%1", "%%", "%3 %s"]);
        writeln!(text, "result_format = {form}").expect("a text");
    }
    if dice.percent(20) {
        text += "domain = example.com, .example.org static:all\n";
    }
    text
}

/// What postmap complained of, without the reason of a look-up that failed: with Postfix some error of the system, often an
/// older one (docs/differences.md).
fn without_reasons(err: &str) -> String {
    let cut = |line: &str, end: &str| Some(line.split_once(&format!("{end}: "))?.0.to_owned() + end + "\n");
    let line = |line: &str| {
        let cut = [": query error", ": delete error", ": write error", ": I/O error"]
            .iter()
            .find_map(|end| cut(line, end));
        cut.unwrap_or_else(|| format!("{line}\n"))
    };
    err.lines().map(line).collect()
}

/// A number that the environment has.
fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Random keys through random tables, with Postfix and with the suite under test: output, complaints, queries.
/// `POSTERN_KEYS=2400 POSTERN_SEED=7` are more, and other ones.
fn compare(
    instance: &Instance,
    kind: &str,
    server: &str,
    random_table: impl Fn(&mut Dice) -> String,
    mut queries: impl FnMut() -> Vec<String>,
) {
    let mut dice = Dice::new(number("POSTERN_SEED").unwrap_or(7));
    let postfix = Plan::for_suite("oracle", Suite::Postfix).prepare();
    let file = instance.home().join("random.cf");
    let table = format!("{kind}:{}", file.display());
    for _ in 0..number("POSTERN_KEYS").unwrap_or(240).div_ceil(60) {
        let settings = random_table(&mut dice);
        write_aged(&file, format!("{server}{settings}"));
        let mut input = Vec::new();
        for _ in 0..60 {
            input.extend_from_slice(&random_bytes(&mut dice));
            input.push(b'\n');
        }
        let mut ask = |instance: &Instance| {
            let outcome = instance.run_with_input("postmap", &["-q", "-", &table], &input);
            (outcome.status, outcome.out(), outcome.err(), queries())
        };
        let (expected, seen) = (ask(&postfix), ask(instance));
        let is_refused = expected.2.contains("fatal: ");
        assert!(!expected.3.is_empty() || is_refused || settings.contains("domain"), "{expected:?}");
        assert_eq!(seen, expected, "{settings}{}", String::from_utf8_lossy(&input));
    }
}
