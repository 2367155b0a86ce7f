//! The same session with the same tables, of each kind that is asked over a socket: the same keys in the same order on
//! Postfix and on the suite under test.
//!
//! Such a table is no table of fixed strings, so its client does not fold keys: whoever looks up an address folds it
//! or does not, and a table that knows only one of the two says that there is no such recipient.

use std::collections::HashMap;
use std::fmt::Write as _;

use conformance::{Client, Instance, Plan, RecordingMap, Service, Suite, require};
use nix::unistd::Uid;

use super::ADDRESS_MAPS;
use super::servers::Servers;

/// Parameters that are one table, besides those of addresses.
const OTHER_MAPS: &[&str] = &[
    "smtpd_sender_login_maps",
    "smtpd_command_filter",
    "smtpd_reject_footer_maps",
    "smtpd_discard_ehlo_keyword_address_maps",
];

/// Parameters that are lists in which a table may stand, and what stands before it.
const LISTS: &[(&str, &str)] = &[
    ("mydestination", "$myhostname, local.example, "),
    ("relay_domains", ""),
    ("virtual_alias_domains", ""),
    ("virtual_mailbox_domains", ""),
    ("mynetworks", "198.51.100.0/24, "),
    ("smtpd_authorized_verp_clients", ""),
    ("smtpd_authorized_xclient_hosts", "127.0.0.1, "),
    ("smtpd_authorized_xforward_hosts", ""),
    ("smtpd_client_event_limit_exceptions", ""),
    ("smtpd_sasl_exceptions_networks", ""),
    ("debug_peer_list", ""),
    ("fast_flush_domains", ""),
    ("local_header_rewrite_clients", "permit_inet_interfaces, check_address_map "),
    ("smtpd_client_restrictions", "check_client_access "),
    ("smtpd_helo_restrictions", "check_helo_access "),
    ("smtpd_sender_restrictions", "reject_sender_login_mismatch, check_sender_access "),
    (
        "smtpd_recipient_restrictions",
        "check_reverse_client_hostname_access inline:{a=b}, check_recipient_access ",
    ),
    ("smtpd_log_access_permit_actions", ""),
    ("smtpd_etrn_restrictions", "check_etrn_access "),
    ("smtpd_data_restrictions", "check_sasl_access inline:{a=b}, check_recipient_access "),
];

/// Parameters that are one table.
fn maps() -> impl Iterator<Item = &'static str> {
    ADDRESS_MAPS.iter().chain(OTHER_MAPS).copied()
}

/// What is found, in lower case; all else is not.
fn answer(table: &str, key: &str) -> Option<&'static str> {
    let found = match (table, key) {
        ("relay_domains", "relay.example")
        | ("virtual_alias_domains", "alias.example")
        | ("virtual_mailbox_domains", "mailbox.example")
        | ("local_recipient_maps", "known")
        | ("relay_recipient_maps", "known@relay.example")
        | ("virtual_mailbox_maps", "known@mailbox.example") => "x",
        ("virtual_alias_maps", "known@alias.example") => "joe@local.example",
        ("transport_maps", "t1.transport.example") => "smtp:[127.0.0.1]",
        ("relocated_maps", "moved@local.example") => "new@example.org",
        ("smtpd_sender_login_maps", "owned@local.example") => "owner",
        ("smtpd_recipient_restrictions", "refused@relay.example") => "REJECT",
        ("smtpd_sender_restrictions", "refused@other.example") => "REJECT",
        _ => return None,
    };
    Some(found)
}

const SESSION: &[&str] = &[
    "EHLO Client.Example",
    "XCLIENT NAME=Client.Example.COM ADDR=192.0.2.9 REVERSE_NAME=Reverse.Example.COM",
    "EHLO Helo.Example.COM",
    "MAIL FROM:<Sender+Ext@Other.Example>",
    "RCPT TO:<Known@Virt.Example>",
    "RCPT TO:<Known@Alias.Example>",
    "RCPT TO:<Unknown+Ext@Alias.Example>",
    "RCPT TO:<Known@Mailbox.Example>",
    "RCPT TO:<Unknown+Ext@Sub.Mailbox.Example>",
    "RCPT TO:<Known+Ext@Local.Example>",
    "RCPT TO:<Unknown@Local.Example>",
    "RCPT TO:<Unknown>",
    "RCPT TO:<Known+Ext@Relay.Example>",
    "RCPT TO:<Refused@Relay.Example>",
    "RCPT TO:<\"Quoted Word\"@Sub.Relay.Example>",
    "RCPT TO:<Moved+Ext@Local.Example>",
    "RCPT TO:<U@T1.Transport.Example>",
    "RCPT TO:<U@A.B.Other.Example>",
    "RCPT TO:<User@[127.0.0.1]>",
    "RCPT TO:<User@[IPv6:2001:DB8::1]>",
    "RCPT TO:<\u{c4}U@Relay.Example>",
    "VRFY Known@Relay.Example",
    "DATA",
    "RSET",
    "MAIL FROM:<Owned@Local.Example>",
    "RCPT TO:<Known@Relay.Example>",
    "RSET",
    "MAIL FROM:<Refused@Other.Example>",
    "RCPT TO:<Known@Relay.Example>",
    "RSET",
    "MAIL FROM:<>",
    "RCPT TO:<Known@Relay.Example>",
    "RSET",
    "MAIL FROM:<\u{c4}Sender@\u{c4}.Example> SMTPUTF8",
    "RCPT TO:<\u{c4}U@\u{c4}.Relay.Example>",
    "RCPT TO:<\u{c4}U@Local.Example>",
    "RSET",
    "ETRN Relay.Example",
    "MAIL FROM:<a@b.example> XVERP",
];

/// How a table is written, given its name.
type Spelling = fn(&Servers, &str) -> String;

/// Kinds of tables; with whose proxymap service, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proxymap {
    None,
    /// The suite's own.
    Real,
    /// The test's, which notes what it is asked.
    Noting,
}

const KINDS: &[(Spelling, Proxymap)] = &[
    (|servers, name| servers.tcp(name), Proxymap::None),
    (|servers, name| servers.socketmap(name), Proxymap::None),
    (|servers, name| format!("proxy:{}", servers.tcp(name)), Proxymap::Real),
    (|servers, name| format!("proxy:{}", servers.socketmap(name)), Proxymap::Real),
    (
        |servers, name| format!("unionmap:{{{}, {}}}", servers.tcp(name), servers.socketmap(name)),
        Proxymap::None,
    ),
    (
        |servers, name| format!("pipemap:{{{}, {}}}", servers.socketmap(name), servers.tcp(name)),
        Proxymap::None,
    ),
    (|servers, name| format!("unionmap:{{proxy:{}, static:{{}}}}", servers.socketmap(name)), Proxymap::Real),
    (|_, name| format!("proxy:texthash:{name}"), Proxymap::Noting),
    (|_, name| format!("proxy:regexp:{name}"), Proxymap::Noting),
    (|_, name| format!("unionmap:{{proxy:texthash:{name}, proxy:regexp:{name}}}"), Proxymap::Noting),
    (|_, name| format!("pipemap:{{proxy:regexp:{name}, proxy:texthash:{name}}}"), Proxymap::Noting),
];

/// A running instance with tables of one kind.
struct Side {
    instance: Instance,
    servers: Servers,
    noting: Option<RecordingMap>,
}

impl Side {
    fn start(suite: Suite, spelling: Spelling, proxymap: Proxymap) -> Side {
        let names: Vec<&str> = maps().chain(LISTS.iter().map(|(name, _)| *name)).collect();
        let servers = Servers::start(&names, answer);
        let mut plan = Plan::for_suite("key-kinds", suite);
        let mut cleanup = Service::new("cleanup unix n - n - 0 cleanup").option("mydestination", "");
        let mut spellings = String::new();
        for name in maps() {
            let table = spelling(&servers, name);
            let _ = write!(spellings, " {table}");
            plan.set(name, &table);
            cleanup = cleanup.option(name, "");
        }
        for (name, before) in LISTS {
            let table = spelling(&servers, name);
            let _ = write!(spellings, " {table}");
            plan.set(name, &format!("{before}{table}"));
            cleanup = cleanup.option(name, "");
        }
        plan.set("proxy_read_maps", &spellings);
        for (name, value) in [
            ("recipient_delimiter", "+"),
            ("smtpd_reject_unlisted_sender", "yes"),
            ("smtpd_soft_error_limit", "1000"),
            ("smtpd_hard_error_limit", "1000"),
            ("smtpd_error_sleep_time", "0"),
            ("smtpd_relay_restrictions", "permit_mynetworks, reject_unauth_destination"),
            ("disable_vrfy_command", "no"),
        ] {
            plan.set(name, value);
        }
        plan.without("cleanup").service(cleanup);
        if proxymap == Proxymap::Real {
            plan.service(Service::new("proxymap unix - - n - - proxymap"));
        }
        let instance = plan.prepare();
        let noting = (proxymap == Proxymap::Noting).then(|| RecordingMap::start(&instance, HashMap::new()));
        let started = instance.start_master(&["-w"]);
        assert_eq!(started.status, Some(0), "{}", started.err());
        Side { instance, servers, noting }
    }

    /// The keys asked since the last call.
    fn keys(&self) -> String {
        let mut keys = self.servers.noted.take();
        keys.extend(self.noting.iter().flat_map(RecordingMap::take));
        // `*` is asked for when a process starts, and again after a while.
        keys.retain(|key| !key.ends_with(" *"));
        keys.join(" | ")
    }

    /// Each command with the reply's code and the keys.
    fn session(&self) -> Vec<String> {
        let mut client = Client::connect(self.instance.smtp_port());
        let mut lines = vec![format!("connection: {} {}", client.greeting().code, self.keys())];
        for command in SESSION {
            let reply = client.command(command);
            lines.push(format!("{command}: {} {}", reply.code, self.keys()));
            if reply.code == 354 {
                let reply = client.command(".");
                lines.push(format!("end of data: {} {}", reply.code, self.keys()));
            }
        }
        lines.extend(self.noting.iter().flat_map(RecordingMap::asked));
        lines
    }
}

fn compare(asked: Proxymap) {
    let mut different = String::new();
    for (spelling, proxymap) in KINDS.iter().filter(|(_, proxymap)| *proxymap == asked) {
        let [ours, theirs] = [Suite::under_test(), Suite::Postfix]
            .map(|suite| Side::start(suite, *spelling, *proxymap).session());
        let kind = spelling(&Servers::start(&["NAME"], answer), "NAME");
        for (ours, theirs) in ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs) {
            let _ = write!(different, "{kind}\n  under test: {ours}\n  Postfix:    {theirs}\n");
        }
    }
    assert!(different.is_empty(), "{different}");
}

#[test]
fn of_tables_over_sockets() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    compare(Proxymap::None);
}

#[test]
fn of_tables_behind_proxymap() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    compare(Proxymap::Real);
}

/// Tables of fixed strings are asked for more keys than others, and parts of addresses.
#[test]
fn of_tables_that_proxymap_is_asked_for() {
    require!(Suite::under_test() != Suite::Postfix, "compares the suite under test with Postfix");
    require!(Uid::effective().is_root(), "Debian's Postfix runs only as root");
    compare(Proxymap::Noting);
}
