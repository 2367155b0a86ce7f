//! Lookup tables: each type through `postmap -q`, what is made and read again, and what postmap says.

use std::fs;

use conformance::{Instance, Plan, Suite, require, version_at_least};

fn instance(name: &str) -> Instance {
    Plan::new(name).prepare()
}

/// Writes a file in the instance; its path.
fn file(instance: &Instance, name: &str, text: &str) -> String {
    let path = instance.home().join(name);
    fs::write(&path, text).expect("a file of our own");
    path.to_str().expect("a plain name").to_owned()
}

fn query(instance: &Instance, key: &str, table: &str) -> (Option<i32>, String) {
    let outcome = instance.run("postmap", &["-q", key, table]);
    (outcome.status, outcome.out())
}

const CIDR: &str = "if !192.168.0.0/16\n!10.0.0.0/8 outside\n10.1.0.0/16  a  b \nendif\n\
                    [192.168.1.0/24] c\n10.0.0.1/8 d\n0.0.0.0/0 rest\n";
const REGEXP: &str =
    "/^(a+)(b)?x$/ <$1><$2>$$\nif /^y/\n/y[[:digit:]]{2,3}$/ digits\nendif\n!/z/i lower\n/(/ bad\n";

#[test]
fn rules() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let instance = instance("tables-rules");
    let cidr = format!("cidr:{}", file(&instance, "cidr", CIDR));
    for (key, value) in [
        ("1.2.3.4", "outside\n"),
        ("10.1.2.3", "a  b\n"),
        ("10.2.2.3", "rest\n"),
        ("192.168.1.9", "c\n"),
        ("::1", ""),
    ] {
        assert_eq!(query(&instance, key, &cidr).1, value, "{key}");
    }
    let outcome = instance.run("postmap", &["-q", "x", &cidr]);
    assert!(outcome.err().contains(
        ", line 6: non-null host address bits in \"10.0.0.1/8\", perhaps you should use \"10.0.0.0/8\" instead: \
         skipping this rule"
    ));
    let regexp = format!("regexp:{}", file(&instance, "regexp", REGEXP));
    for (key, value) in
        [("aaX", "<aa><>$\n"), ("abx", "<a><b>$\n"), ("y12z", ""), ("Y123", "digits\n"), ("Z", "lower\n")]
    {
        assert_eq!(query(&instance, key, &regexp).1, value, "{key}");
    }
    assert!(instance.run("postmap", &["-q", "x", &regexp]).err().contains("line 6: Unmatched ( or \\("));
}

#[test]
fn hash_and_btree_files() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let instance = instance("tables-made");
    let long = "v".repeat(9000);
    let mut text = format!("Key one\nkey two\nlong {long}\n");
    for number in 0..2000 {
        text.push_str(&format!("user{number}@example.com value {number}\n"));
    }
    for kind in ["hash", "btree"] {
        let path = file(&instance, kind, &text);
        let table = format!("{kind}:{path}");
        let made = instance.run("postmap", &[&table]);
        assert_eq!(made.status, Some(0), "{}", made.err());
        assert!(made.err().contains(".db: duplicate entry: \"key\""), "{}", made.err());
        assert_eq!(query(&instance, "KEY", &table), (Some(0), "one\n".to_owned()));
        assert_eq!(query(&instance, "long", &table).1, format!("{long}\n"));
        assert_eq!(query(&instance, "user1999@example.com", &table).1, "value 1999\n");
        assert_eq!(query(&instance, "nobody", &table), (Some(1), String::new()));
        let listed = instance.run("postmap", &["-s", &table]).out();
        assert_eq!(listed.lines().count(), 2002);
        let added = instance.run_with_input("postmap", &["-i", &table], b"new entry\n");
        assert_eq!(added.status, Some(0), "{}", added.err());
        assert_eq!(query(&instance, "new", &table).1, "entry\n");
        assert_eq!(instance.run("postmap", &["-d", "user7@example.com", &table]).status, Some(0));
        assert_eq!(instance.run("postmap", &["-d", "user7@example.com", &table]).status, Some(1));
        let some = instance.run_with_input("postmap", &["-q", "-", &table], b"new\nuser7@example.com\nkey\n");
        assert_eq!((some.status, some.out()), (Some(0), "new\tentry\nkey\tone\n".to_owned()));
    }
}

#[test]
fn aliases() {
    require!(Suite::under_test().command("postalias").is_some(), "needs postalias");
    let instance = instance("tables-aliases");
    let path = file(&instance, "aliases", "Root: a,  b\n\"x y\": |\"/bin/cmd arg\"\nno colon\na@b: c\n");
    let table = format!("hash:{path}");
    let made = instance.run("postalias", &[&table]);
    assert!(made.err().contains("line 3: need name:value pair"), "{}", made.err());
    assert!(made.err().contains("line 4: name must be local"), "{}", made.err());
    let found = instance.run_with_input("postalias", &["-q", "-", &table], b"ROOT\nx y\n@\n");
    assert_eq!(found.out(), "ROOT:\ta, b\nx y:\t|\"/bin/cmd arg\"\n@:\t@\n");
}

#[test]
fn refusals() {
    require!(Suite::under_test().command("postmap").is_some(), "needs postmap");
    let instance = instance("tables-refusals");
    let is_new = Suite::under_test() != Suite::Postern && version_at_least(3, 11);
    let one = if is_new {
        "fatal: specify only one of -d -i -q or -s"
    } else {
        "fatal: specify only one of -s or -q or -d"
    };
    for (arguments, expected) in [
        (
            &["-q", "a", "hash:/nowhere/x"][..],
            "fatal: open database /nowhere/x.db: No such file or directory",
        ),
        (&["-q", "a", "cidr:/nowhere/x"], "fatal: open /nowhere/x: No such file or directory"),
        (&["-q", "a", "foo:x"], "fatal: unsupported dictionary type: foo"),
        (&["-q", "a", "fail:x"], "fatal: table fail:x: query error: Application error"),
        (&["-q", "a", "-s", "hash:x"], one),
        (&["-h", "-q", "a", "hash:x"], "fatal: specify -b -h or -m only with \"-q -\""),
        (&["-s", "static:x"], "fatal: table static:x: sequence operation is not supported"),
        (&["proxy:hash:x"], "fatal: can't create maps via the proxy service"),
        (&["-q", "a", "unix:nothing"], "fatal: unknown table: unix:nothing"),
    ] {
        let outcome = instance.run("postmap", arguments);
        assert_eq!(outcome.status, Some(1), "{arguments:?}");
        assert!(outcome.err().contains(expected), "{arguments:?}: {}", outcome.err());
    }
}
