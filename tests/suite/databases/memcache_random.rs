//! Random keys and values of `memcache` tables with random settings, on Postfix and on the suite under test: output, complaints,
//! what the server is asked for and told to store, and what it has afterwards.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use conformance::{Dice, Instance, Memcached, Plan, Suite, require};

use super::{can_compare, has_type, number, random_bytes, random_key, without_reasons, write_aged};

const FORMATS: &[&str] =
    &["%s", "%s", "p:%s", "%u", "%d", "%S", "%u:%d", "%U@%D", "%1", "%2.%1", "fixed", "%%%s", "a b", ""];

const DOMAINS: &[&str] = &["example.com, .example.org", "static:all", "!example.com, static:all", "x..y"];

const VALUES: &[&[u8]] = &[
    b"1",
    b"x y",
    b" x ",
    b"",
    b"\0",
    b"a\0b",
    b"\r\nEND\r\n",
    b"END",
    b"x\ny",
    b"VALUE a 0 1\r\n2\r\nEND",
    "ü☃😀".as_bytes(),
    b"a,b",
];

/// What is behind the server: `KEYS` are entries of keys that are asked for. The first are opened for changes, too, by Postfix
/// alone (docs/differences.md).
const BACKUPS: &[&str] = &[
    "static:all",
    "static:{with a blank}",
    "fail:behind",
    "inline:{ KEYS }",
    "inline:{ KEYS }",
    "unionmap:{inline:{ KEYS }, static:x}",
    "pipemap:{inline:{ KEYS }, static:y}",
    "regexp:{{/a(.)/ <$1>}}",
    "cidr:{{0.0.0.0/0 all}}",
];

/// A table, what the server has, and what is done with both.
struct Round {
    settings: String,
    stored: Vec<(Vec<u8>, Vec<u8>)>,
    arguments: &'static [&'static str],
    input: Vec<u8>,
}

impl Round {
    fn random(dice: &mut Dice) -> Round {
        let mut keys: Vec<Vec<u8>> = (0..60).map(|_| random_bytes(dice)).collect();
        // What fails is the end of a list of keys.
        let may_fail = dice.percent(20);
        if !may_fail {
            keys.retain(|key| key.len() < 200);
        }
        let (arguments, backups): (&[_], _) = match dice.below(10) {
            0 | 1 => (&["-i"], &BACKUPS[3..]),
            2 => (&["-d", "-"], &BACKUPS[3..]),
            _ => (&["-q", "-"], BACKUPS),
        };
        let format = dice.one_of(FORMATS);
        let mut settings = format!("key_format = {format}\n");
        if dice.percent(25) {
            writeln!(settings, "domain = {}", dice.one_of(DOMAINS)).expect("a text");
        }
        if dice.percent(50) {
            let backup = dice.one_of(backups).replace("KEYS", &entries_of(dice, &keys));
            writeln!(settings, "backup = {backup}").expect("a text");
        }
        for (name, values) in [("flags", ["0", "7", "65535"]), ("ttl", ["0", "3600", "9999999"])] {
            if dice.percent(20) {
                writeln!(settings, "{name} = {}", dice.one_of(&values)).expect("a text");
            }
        }
        // What fails is tried again after a second, unless once is enough.
        if dice.percent(70) {
            settings += "max_try = 1\n";
        } else {
            keys.retain(|key| key.len() < 100);
        }
        for (name, values) in [("data_size_limit", ["1", "5", "40"]), ("line_size_limit", ["4", "14", "30"])]
        {
            if dice.percent(15) {
                writeln!(settings, "{name} = {}", dice.one_of(&values)).expect("a text");
                if !settings.contains("max_try") {
                    keys.truncate(3);
                }
            }
        }
        let stored: Vec<_> = keys.iter().filter(|_| dice.percent(50)).collect();
        // What ends a key or a command is a part of none.
        let is_key =
            |key: &Vec<u8>| !key.is_empty() && key.len() <= 250 && key.iter().all(|byte| *byte > b' ');
        let stored = stored.into_iter().map(|key| as_stored(key, format)).filter(is_key);
        let stored = stored.map(|key| (key, random_value(dice, may_fail))).collect();
        let mut input = Vec::new();
        for key in keys {
            input.extend(key);
            if arguments == ["-i"] {
                input.extend([b" ", *dice.one_of(VALUES)].concat());
            }
            input.push(b'\n');
        }
        Round { settings, stored, arguments, input }
    }
}

/// A key, perhaps, as the server knows it.
fn as_stored(key: &[u8], format: &str) -> Vec<u8> {
    let key = String::from_utf8_lossy(key).to_lowercase();
    let (user, domain) = key.rsplit_once('@').unwrap_or((&key, ""));
    let first = domain.rsplit('.').next().unwrap_or_default();
    let known =
        [("%%", "%"), ("%s", &key), ("%S", &key), ("%u", user), ("%U", user), ("%d", domain), ("%D", domain)];
    let text = known.iter().fold(format.to_owned(), |text, (word, meaning)| text.replace(word, meaning));
    text.replace("%1", first).into_bytes()
}

/// Some of these keys, for a table of type `inline`.
fn entries_of(dice: &mut Dice, keys: &[Vec<u8>]) -> String {
    let is_plain = |key: &&str| key.chars().all(|c| c.is_alphanumeric() || "@._%'☃😀".contains(c));
    let plain = keys.iter().filter_map(|key| std::str::from_utf8(key).ok()).filter(is_plain);
    let values = ["behind", "{b c}", "é", "0123456789"];
    let entry = |key: &str| format!("{{ {} = {} }} ", key.to_lowercase(), dice.one_of(&values));
    plain.map(entry).collect::<String>() + "{ behind = it }"
}

fn random_value(dice: &mut Dice, may_fail: bool) -> Vec<u8> {
    match dice.below(20) {
        0 if may_fail && dice.percent(20) => b"\xff\xc3".to_vec(),
        0 => b"x".repeat(*dice.one_of(&[39, 40, 41, 1024, 10240, 10240 + usize::from(may_fail)])),
        1..=4 => random_key(dice).into_bytes(),
        _ => dice.one_of(VALUES).to_vec(),
    }
}

/// The commands about keys: that a client takes leave comes late.
fn asked(server: &mut Memcached) -> Vec<Vec<u8>> {
    let verbs: [&[u8]; 3] = [b"get ", b"set ", b"delete "];
    let commands = server.commands().into_iter();
    commands.filter(|command| verbs.iter().any(|verb| command.starts_with(verb))).collect()
}

/// What came of a round: the outcome of the command, the server's commands, and all values that it has then.
type Outcome = (Option<i32>, String, String, Vec<String>, String);

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn play(instance: &Instance, server: &mut Memcached, table: &str, round: &Round) -> Outcome {
    assert_eq!(server.command("flush_all\r\n"), "OK");
    let stored = || round.stored.iter().map(|(key, value)| (&key[..], &value[..]));
    server.store(stored());
    drop(asked(server));
    let arguments: Vec<&str> = round.arguments.iter().copied().chain([table]).collect();
    let outcome = instance.run_with_input("postmap", &arguments, &round.input);
    let commands = asked(server);
    let named = commands.iter().filter_map(|command| command.split(|byte| *byte == b' ').nth(1));
    let keys: BTreeSet<&[u8]> =
        stored().map(|(key, _)| key).chain(named).filter(|key| key.len() <= 250).collect();
    let values = server.values(keys.into_iter());
    // Of what was found before a failure only whole buffers are written.
    let out = if outcome.status == Some(0) { outcome.out() } else { String::new() };
    let commands = commands.iter().map(|command| text(command)).collect();
    (outcome.status, out, without_reasons(&outcome.err()), commands, text(&values))
}

#[test]
fn keys_and_values() {
    require!(can_compare(), "a comparison with Postfix needs root");
    require!(Suite::under_test() != Suite::Postfix, "would compare Postfix with itself");
    let instance = Plan::new("memcache-random").prepare();
    require!(has_type(&instance, "memcache"), "no memcache tables in this build");
    let postfix = Plan::for_suite("memcache-oracle", Suite::Postfix).prepare();
    let mut server = Memcached::start().expect("memcached");
    let mut dice = Dice::new(number("POSTERN_SEED").unwrap_or(7));
    let file = instance.home().join("random.cf");
    let table = format!("memcache:{}", file.display());
    let mut differ = Vec::new();
    let rounds = number("POSTERN_KEYS").unwrap_or(480).div_ceil(60);
    for _ in 0..rounds {
        let round = Round::random(&mut dice);
        let place = format!("memcache = inet:127.0.0.1:{}\n", server.port());
        write_aged(&file, place + &round.settings);
        let expected = play(&postfix, &mut server, &table, &round);
        let seen = play(&instance, &mut server, &table, &round);
        if seen != expected {
            let Round { settings, input, .. } = &round;
            let input = text(input);
            differ.push(format!("{settings}{input}\n  Postfix: {expected:?}\n  here:    {seen:?}\n"));
        }
    }
    assert!(differ.is_empty(), "{} of {rounds} tables differ:\n{}", differ.len(), differ.join("\n"));
}
