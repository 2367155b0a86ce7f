//! Random `.forward` and list files, with random owners and modes, random addresses, and random settings, on Postfix and on the
//! suite under test.

use conformance::{Dice, Plan, Suite, require};
use nix::unistd::Uid;

use super::random::{PIECES, failures};
use super::stage::Stage;
use crate::case_file::Case;

const HEAD: &[&str] = &[
    "alias list: :include:HOME/lists/any",
    "alias owner-list: man",
    "alias owned: games, far@remote.test",
    "alias owner-owned: \"|true\", man",
    "alias twice: owned, list, man",
    "alias cmd: \"|HOME/mail/say alias\"",
    "alias file: HOME/mail/file",
    "alias request-request: man",
    "alias x-request: games",
    "alias loop: loop",
    "alias deep: twice, deep",
    "alias all+x: games",
    "alias self: \\self, games",
    "alias nobody-knows: nosuch1, nosuch2",
    "set service_throttle_time=1s",
    "file lists/one 644 root games, man",
    "file lists/two 644 games proxy",
    "file mail/say 755 root #!/bin/sh\\ncat >/dev/null\\necho \"$@ $USER $LOCAL $EXTENSION $RECIPIENT $SENDER $DOMAIN\" >>HOME/mail/said\\n",
    "file mail/table 644 root games   |HOME/mail/say table\\nman discard:\\n",
    "dir mail/d 777 root",
    "dir mail/home 755 games",
];

const ADDRESSES: &[&str] = &[
    "games",
    "games",
    "games+x",
    "games+X+y",
    "GAMES",
    "man",
    "man+a",
    "proxy",
    "list",
    "list+e",
    "owner-list",
    "owner-list+e",
    "owned",
    "twice",
    "cmd",
    "cmd+z",
    "file",
    "x-request",
    "x-request+q",
    "request-request",
    "owner-games",
    "games-request",
    "owner-nosuch",
    "nosuch-request",
    "nosuch",
    "NoSuch+Ext",
    "loop",
    "deep",
    "all+x",
    "all+X",
    "all",
    "self",
    "nobody-knows",
    "games-x",
    "games=x",
    "+",
    "+x",
    "games+",
    "games++",
    "\"a b\"",
    "a/b",
    "../x",
    "root",
    "nobody",
    "daemon",
    "postmaster",
    "mailer-daemon",
    "double-bounce",
    "games%remote.test",
    "x!games",
];

const SETTINGS: &[&[&str]] = &[
    &[
        "allow_mail_to_commands=alias",
        "allow_mail_to_commands=",
        "allow_mail_to_commands=alias, forward, include",
        "allow_mail_to_commands=include",
    ],
    &[
        "allow_mail_to_files=alias",
        "allow_mail_to_files=",
        "allow_mail_to_files=alias, forward, include",
        "allow_mail_to_files=forward",
    ],
    &["expand_owner_alias=yes"],
    &["owner_request_special=no"],
    &["reset_owner_alias=yes"],
    &[
        "propagate_unmatched_extensions=",
        "propagate_unmatched_extensions=alias,forward,include",
        "propagate_unmatched_extensions=include",
    ],
    &["recipient_delimiter=-", "recipient_delimiter=+-=", "recipient_delimiter="],
    &["frozen_delivered_to=no"],
    &[
        "luser_relay=man",
        "luser_relay=$user@remote.test",
        "luser_relay=$local+$domain",
        "luser_relay=\"|true\"",
        "luser_relay=x+$extension@far.test",
    ],
    &[
        "fallback_transport=error:5.1.1 fell back",
        "fallback_transport=retry:4.2.1 wait",
        "fallback_transport=discard:all",
    ],
    &[
        "fallback_transport_maps=inline:{{nosuch=error:4.2.2 mapped} {games=error:no}}",
        "fallback_transport_maps=inline:{{nosuch=}}",
    ],
    &["mailbox_transport=error:5.1.1 transported", "mailbox_transport=discard:"],
    &[
        "mailbox_transport_maps=inline:{{games=discard:} {man=error:4.7.1 later}}",
        "mailbox_transport_maps=texthash:HOME/mail/table",
    ],
    &[
        "mailbox_command=HOME/mail/say command",
        "mailbox_command=exit 73",
        "mailbox_command=HOME/mail/say \"$EXTENSION\" $DOMAIN",
    ],
    &[
        "mailbox_command_maps=texthash:HOME/mail/table",
        "mailbox_command_maps=inline:{{man=HOME/mail/say map}}",
    ],
    &["home_mailbox=nowhere/", "home_mailbox=nowhere"],
    &["mail_spool_directory=HOME/mail", "mail_spool_directory=HOME/nowhere/"],
    &[
        "forward_path=HOME/forward/$user$(recipient_delimiter)$extension",
        "forward_path=HOME/forward/${extension?$extension:none}",
        "forward_path=",
        "forward_path=HOME/forward/$local HOME/forward/games",
        "forward_path=HOME/forward/${domain}_${shell}, HOME/forward/$user",
    ],
    &["forward_expansion_filter=abc", "execution_directory_expansion_filter=abc"],
    &["command_expansion_filter=abc"],
    &[
        "prepend_delivered_header=",
        "prepend_delivered_header=command",
        "prepend_delivered_header=file,forward",
    ],
    &["require_home_directory=yes"],
    &["strict_mailbox_ownership=no"],
    &["default_privs=man", "default_privs=games"],
    &["mailbox_size_limit=51200000", "mailbox_size_limit=0"],
    &[
        "local_delivery_status_filter=pcre:{{/^2.0.0 delivered to m/=2.1.5 filed}}",
        "default_delivery_status_filter=pcre:{{/^2.*maildir/=2.2.2 there}}",
        "local_delivery_status_filter=pcre:{{/^5(.*)/=4$1}}",
        "local_delivery_status_filter=pcre:{{/^2/=bad} {/^5.*user/=2.0.0 fine}}",
    ],
    &["append_dot_mydomain=no"],
    &["myorigin=elsewhere.test"],
    &["mail_name=Other"],
    &["soft_bounce=yes"],
    &["local_command_shell=/bin/sh -c", "local_command_shell=/nonexistent -c"],
];

const OWNERS: &[&str] = &["games", "games", "games", "man", "root", "proxy"];
const MODES: &[&str] =
    &["644", "644", "644", "600", "664", "666", "755", "640", "000", "400", "620", "602", "link"];

/// The text of such a file.
fn text(dice: &mut Dice) -> String {
    let mut text = String::new();
    for _ in 0..dice.below(4) {
        for _ in 0..1 + dice.below(3) {
            text += match dice.below(14) {
                0 => "# a comment, games",
                1 => "\\ngames",
                2 => "\\n man",
                3 => "|HOME/mail/say forward",
                4 => "\"|HOME/mail/say forward\"",
                5 => "\\games",
                _ => *dice.one_of(PIECES),
            };
            text += *dice.one_of(&[", ", " ", "", ",", ",\\n ", "\\n\\n"]);
        }
        text += *dice.one_of(&["\\n", "\\n", "\\n", "", "\\r\\n", " # more\\n"]);
    }
    text.replace("\\r", "\r")
}

/// What an expansion may have in it, with conditions of all forms, and such that cannot be read.
fn expansion(dice: &mut Dice, depth: u8) -> String {
    const NAMES: &[&str] = &[
        "user",
        "local",
        "domain",
        "home",
        "shell",
        "extension",
        "extension",
        "recipient",
        "recipient_delimiter",
        "mailbox",
        "myhostname",
        "nosuch",
    ];
    const TEXTS: &[&str] =
        &["x", "", "games", "/", "-", " ", "$$", "man", "a.b", "+", "\u{e9}", "'q'", "\"", ";"];
    const BROKEN: &[&str] = &[
        "$",
        "${",
        "${}",
        "$()",
        "${user",
        "$(user",
        "${ user }",
        "${user?",
        "${a-b}",
        "$1",
        "${user?}",
        "${user:}",
    ];
    let mut text = String::new();
    for _ in 0..1 + dice.below(3) {
        let name = *dice.one_of(NAMES);
        let mut inner = || match dice.below(3) {
            0 if depth < 2 => expansion(dice, depth + 1),
            _ => (*dice.one_of(TEXTS)).to_owned(),
        };
        let (first, second) = (inner(), inner());
        text += &match dice.below(12) {
            0 => format!("${name}"),
            1 => format!("${{{name}}}"),
            2 => format!("$({name})"),
            3 => format!("${{{name}?{first}}}"),
            4 => format!("${{{name}:{first}}}"),
            5 => format!("${{{name}?{{{first}}}:{{{second}}}}}"),
            6 => format!("${{{name}?{{{first}}}}}"),
            7 => {
                let operator = dice.one_of(&["==", "!=", "<", "<=", ">", ">=", "="]);
                format!("${{{{${name}}}{operator}{{{first}}}?{{{second}}}:{{no}}}}")
            }
            8 if dice.percent(30) => (*dice.one_of(BROKEN)).to_owned(),
            _ => first,
        };
    }
    text
}

/// A setting that is expanded for each recipient.
fn expanded(dice: &mut Dice) -> String {
    let text = expansion(dice, 0);
    match dice.below(7) {
        0 => format!("forward_path=HOME/forward/{text}"),
        1 => format!("forward_path=HOME/forward/{text}, HOME/forward/$user"),
        2 => format!("luser_relay={text}"),
        3 => format!("luser_relay={text}@remote.test"),
        4 => format!("mailbox_command=HOME/mail/say {text}"),
        5 => format!("command_execution_directory={text}"),
        _ => format!("command_execution_directory=HOME/{text}"),
    }
}

fn case(dice: &mut Dice) -> Case {
    let mut case = Case::default();
    if dice.percent(40) {
        case.options.push(expanded(dice));
    }
    for _ in 0..*dice.one_of(&[0, 1, 1, 2, 3]) {
        let setting = SETTINGS[usize::try_from(dice.below(SETTINGS.len() as u64)).expect("small")];
        let option = (*dice.one_of(setting)).to_owned();
        let name = |option: &str| option.split('=').next().unwrap_or_default().to_owned();
        if case.options.iter().all(|known| name(known) != name(&option)) {
            case.options.push(option);
        }
    }
    let mut file = |path: &str, dice: &mut Dice| {
        let (mode, owner) = (*dice.one_of(MODES), *dice.one_of(OWNERS));
        let line = match mode {
            "link" => format!("@ {path} link lists/one"),
            _ => format!("@ {path} {mode} {owner} {}", text(dice)),
        };
        case.script.push(line);
    };
    if dice.percent(60) {
        file("forward/games", dice);
    }
    if dice.percent(20) {
        file("forward/games+x", dice);
    }
    if dice.percent(20) {
        file("forward/man", dice);
    }
    file("lists/any", dice);
    let address = *dice.one_of(ADDRESSES);
    let domain = *dice.one_of(&["example.com", "example.com", "example.com", "mx.example.com", "localhost"]);
    case.script.push(format!("> local {} {domain}", dice.one_of(&[3, 3, 3, 2, 0, 4])));
    let original = *dice.one_of(&[
        "",
        "|Some@example.com",
        "|Some@example.com|rfc822;Some@example.com|1",
        "|x@y|rfc822;x@y|2",
        "|x@y||6",
    ]);
    case.script.push(format!("+ {address}@{domain}{original}"));
    case
}

#[test]
fn whatever_users_write() {
    require!(Uid::effective().is_root(), "mail for other users needs root");
    let count: usize = std::env::var("POSTERN_ALIASES").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let seed: u64 = std::env::var("POSTERN_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    if Suite::under_test() == Suite::Postfix {
        return;
    }
    let mut dice = Dice::new(seed);
    let head: Vec<String> = HEAD.iter().map(|line| (*line).to_owned()).collect();
    let stages = [Suite::Postfix, Suite::under_test()]
        .map(|suite| Stage::with(Plan::for_suite("local-cases", suite), &head));
    let cases = (0..count).map(|_| case(&mut dice));
    let failures = failures(&stages, cases);
    assert!(failures.is_empty(), "{failures}");
}
