//! postconf as it is built, on made files: output, warnings, exit status, and what becomes of the files.
//! All expectations but the proposals were observed with Postfix 3.7.11.

#![allow(missing_docs, reason = "a test's name says what it shows")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, main_cf: &str, master_cf: &str) -> Self {
        let path = std::env::temp_dir().join(format!("postconf-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let folder = Self(path);
        folder.write("main.cf", main_cf);
        folder.write("master.cf", master_cf);
        folder
    }

    /// Not freshly written, so that nobody waits for the file to come to rest.
    fn write(&self, file: &str, text: &str) {
        let path = self.0.join(file);
        fs::write(&path, text).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap()
    }

    /// Standard output, standard error without the program's name and with DIR for the folder, status.
    fn run(&self, arguments: &[&str]) -> (String, String, i32) {
        let program = env!("CARGO_BIN_EXE_postern-programs");
        let mut command = Command::new(program);
        let output = command.arg0("postconf").args(arguments).env("MAIL_CONFIG", &self.0).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        let errors = errors.replace("postconf: ", "").replace(self.0.to_str().unwrap(), "DIR");
        (String::from_utf8(output.stdout).unwrap(), errors, output.status.code().unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn values_as_written_expanded_and_by_default() {
    let main_cf = "mail_name = My  $kind\n   Mail\nkind = own\nmax_idle = 5\nrelayhost =\n";
    let folder = Folder::new("values", main_cf, "");
    let cases: &[(&[&str], &str)] = &[
        (&["mail_name", "max_idle", "relayhost"], "mail_name = My $kind Mail\nmax_idle = 5\nrelayhost =\n"),
        (&["-x", "mail_name"], "mail_name = My own Mail\n"),
        (&["-h", "mail_name"], "My $kind Mail\n"),
        (&["-H", "mail_name"], "mail_name\n"),
        (&["-d", "mail_name", "max_idle"], "mail_name = Postfix\nmax_idle = 100s\n"),
        (&["-o", "kind=other", "-xh", "mail_name"], "My other Mail\n"),
        (&["-C", "user"], "kind = own\n"),
        (&["-n", "mydestination"], ""),
        (&["mydestination"], "mydestination = $myhostname, localhost.$mydomain, localhost\n"),
    ];
    for (arguments, expected) in cases {
        assert_eq!(folder.run(arguments), (expected.to_string(), String::new(), 0), "{arguments:?}");
    }
}

#[test]
fn names_that_mean_nothing() {
    let main_cf = "myhostnam = a\nfoo = $bar\nprocess_name = x\nsmtpd_banner = $nobody\nsmtpd_banner = b\n";
    let master_cf = "smtp inet n - n - - smtpd -o mynam=$smtpd_banner\n";
    let folder = Folder::new("names", main_cf, master_cf);
    let (output, errors, status) = folder.run(&["-n", "smtpd_banner", "foo"]);
    assert_eq!((output.as_str(), status), ("smtpd_banner = b\n", 0));
    let mut lines: Vec<_> = errors.lines().collect();
    lines.sort_unstable();
    let expected = [
        "warning: DIR/main.cf, line 5: overriding earlier entry: smtpd_banner=$nobody",
        "warning: DIR/main.cf: read-only parameter assignment: process_name=x (DIR/main.cf, line 3)",
        "warning: DIR/main.cf: undefined parameter: bar (DIR/main.cf, line 2)",
        "warning: DIR/main.cf: unused parameter: foo=$bar (DIR/main.cf, line 2)",
        "warning: DIR/main.cf: unused parameter: myhostnam=a (DIR/main.cf, line 1; did you mean \"myhostname\"?)",
        "warning: DIR/master.cf: unused parameter: mynam=$smtpd_banner (DIR/master.cf, line 1)",
        "warning: foo: unknown parameter",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn faults() {
    let folder = Folder::new("faults", "mail_name = $mail_name\n", "");
    let nesting = "warning: unreasonable macro call nesting: \"mail_name\" (DIR/main.cf, line 1)\n\
                   fatal: macro processing error\n";
    assert_eq!(folder.run(&["-n"]), (String::new(), nesting.to_owned(), 1));
    folder.write("main.cf", "mail_name = x\nfoo bar\n");
    let malformed = "fatal: DIR/main.cf, line 2: missing '=' after attribute name: \"foo bar\"\n";
    assert_eq!(folder.run(&[]), (String::new(), malformed.to_owned(), 1));
    folder.write("main.cf", "");
    folder.write("master.cf", "smtp inet n\n");
    let short = "fatal: file DIR/master.cf: line 1: bad field count\n";
    assert_eq!(folder.run(&["-M"]), (String::new(), short.to_owned(), 1));
    assert_eq!(folder.run(&["-T", "nonsense"]).2, 1);
}

#[test]
fn editing_keeps_what_is_not_asked_about() {
    let main_cf = "# top\nmail_name = x\n  cont\n # inner\n\n  more\nmax_use = 3\nmail_name = y";
    let folder = Folder::new("editing", main_cf, "");
    let twice = "warning: DIR/main.cf: multiple entries for \"mail_name\"\n".to_owned();
    assert_eq!(folder.run(&["mail_name= new  value ", "zz = 1", "aa="]), (String::new(), twice.clone(), 0));
    let expected =
        "# top\nmail_name = new  value\n # inner\n\nmax_use = 3\nmail_name = new  value\naa = \nzz = 1\n";
    assert_eq!(folder.read("main.cf"), expected);
    assert_eq!(folder.run(&["-#", "mail_name"]), (String::new(), twice, 0));
    assert_eq!(folder.run(&["-X", "max_use", "nosuch"]), (String::new(), String::new(), 0));
    let expected = "# top\n#mail_name = new  value\n # inner\n\n#mail_name = new  value\naa = \nzz = 1\n";
    assert_eq!(folder.read("main.cf"), expected);
    for (arguments, text) in [
        (&["-e", "foo"][..], "fatal: missing '=' after attribute name: \"foo\"\n"),
        (&["-X", "a=b"], "fatal: specify one of -e -X\n"),
        (&["-e", "a=b\nc=d"], "fatal: -e, -X, or -# accepts no multi-line input\n"),
    ] {
        assert_eq!(folder.run(arguments), (String::new(), text.to_owned(), 1));
    }
    assert_eq!(folder.read("main.cf"), expected);
}

#[test]
fn entries_fields_and_settings_of_master_cf() {
    let master_cf = "smtp inet n - n - - smtpd\n  -o { mail_name = a  b } -o max_use=2\n\
                     relay unix - - n - 5 smtp -v {x y}\n";
    let folder = Folder::new("master", "", master_cf);
    let smtp = "smtp       inet  n       -       n       -       -       smtpd";
    let relay = "relay      unix  -       -       n       -       5       smtp -v x y";
    let cases: &[(&[&str], String)] = &[
        (&["-M"], format!("{smtp} -o {{mail_name=a  b}} -o max_use=2\n{relay}\n")),
        (&["-Mf", "smtp"], format!("{smtp}\n    -o {{mail_name=a  b}}\n    -o max_use=2\n")),
        (&["-M", "*/unix"], format!("{relay}\n")),
        (&["-P"], "smtp/inet/mail_name = a b\nsmtp/inet/max_use = 2\n".to_owned()),
        (&["-Ph", "*/*/max_use"], "2\n".to_owned()),
        (&["-F", "relay/unix/process_limit"], "relay/unix/process_limit = 5\n".to_owned()),
    ];
    for (arguments, expected) in cases {
        assert_eq!(folder.run(arguments), (expected.clone(), String::new(), 0), "{arguments:?}");
    }
    let unmatched = "warning: unmatched request: \"nosuch\"\n".to_owned();
    assert_eq!(folder.run(&["-M", "nosuch"]), (String::new(), unmatched, 0));
}

#[test]
fn editing_master_cf() {
    let original =
        "# top\nsmtp inet n - n - - smtpd\n  -o a=b\n # inner\n  x\nbad line\nrelay unix - - n - - smtp\n";
    let folder = Folder::new("editing-master", "", original);
    let relay = "relay      unix  -       -       n       -       -       smtp\n";
    let smtp = "smtp       inet  n       -       y       -       -       smtpd\n    -o a=b\n    x\n";
    let cases: &[(&[&str], String)] = &[
        (
            &["-F", "smtp/inet/chroot=y"],
            format!("# top\n # inner\n{smtp}bad line\nrelay unix - - n - - smtp\n"),
        ),
        (
            &["-P", "relay/unix/c=d", "relay/unix/c=e"],
            original.replace("relay unix - - n - - smtp\n", &format!("{relay}    -o c=e\n")),
        ),
        (
            &["-M#", "smtp/*"],
            original.replace("smtp inet", "#smtp inet").replace("  -o", "#  -o").replace("  x", "#  x"),
        ),
        (&["-MX", "smtp/inet"], "# top\n # inner\nbad line\nrelay unix - - n - - smtp\n".to_owned()),
        (
            &["-M", "new/unix=relay unix - - n - - smtp"],
            original.replace("relay unix - - n - - smtp\n", relay),
        ),
    ];
    for (arguments, expected) in cases {
        folder.write("master.cf", original);
        assert_eq!(folder.run(arguments), (String::new(), String::new(), 0), "{arguments:?}");
        assert_eq!(&folder.read("master.cf"), expected, "{arguments:?}");
    }
    folder.write("master.cf", original);
    for (arguments, text, status) in [
        (&["-F", "smtp/inet/chroot=q"][..], "fatal: invalid chroot field \"q\" in \"q\"\n", 1),
        (&["-M", "smtp=x"], "fatal: -Me, -MX or -M# requires service_name/type\n", 1),
        (&["-P", "nosuch/inet/a=b"], "warning: unmatched service_name/type: \"nosuch/inet/a=b\"\n", 0),
    ] {
        assert_eq!(folder.run(arguments), (String::new(), text.to_owned(), status), "{arguments:?}");
    }
    assert_eq!(folder.read("master.cf"), original);
}
