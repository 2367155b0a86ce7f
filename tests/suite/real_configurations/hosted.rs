//! Servers for mailboxes as projects of the field set them up: aliases, header checks, Milters, copies.
//!
//! Each takes a message from elsewhere for an alias, one by submission whose headers tell more than they should, and one
//! by sendmail, and hands them to the server of the mailboxes. Its Milters see what comes in by each way.

use std::fs;

use conformance::{Client, Instance, MilterScript, PolicyServer, ScriptedMilter, Sink, free_port, require};
use nix::unistd::Uid;

use super::{
    Configuration, MESSAGE, Port, Running, WITHOUT_LOGIN, assert_log_is_clean, checked, is_unchanged, send,
    submit,
};

/// A project's configuration, and where mail goes in and comes out.
pub(super) struct Project {
    name: &'static str,
    main_cf: &'static str,
    master_cf: &'static str,
    /// Ports in the text that become others, the first two: for mail from elsewhere, and for submission.
    ports: &'static [&'static str],
    filters: &'static [(&'static str, &'static str)],
    /// Ports of policy servers, which have no opinion.
    policies: &'static [&'static str],
    /// Milters, which let everything pass: ports, or sockets in the queue directory; and how many messages each sees.
    milters: &'static [(&'static str, usize)],
    zone: &'static str,
    tables: &'static [(&'static str, &'static str)],
    /// Who gets something of the message from elsewhere besides the mailbox.
    copies: &'static [&'static str],
    /// Submission takes headers away that tell too much.
    cleans_submissions: bool,
    /// What Postern's `postfix check` warns of, services that are there and would not start, or what has no effect; and the
    /// parameter of main.cf in whose line that is.
    told: &'static [(&'static str, &'static str)],
}

const ALIASES: &str = "info@example.com bob@example.com\nbob@example.com bob@example.com\n";
const MAILBOXES: &str = "bob@example.com bob\ncopy@example.com copy\n";
const DOMAINS: &str = "example.com OK\n";
const SYSTEM_ALIASES: (&str, &str) = ("aliases", "postmaster: games\n");
const PRIVATE_HEADERS: &str = "/^X-Originating-IP:/ IGNORE\n/^User-Agent:/ IGNORE\n";
/// What a submitted message has in front.
const PRIVATE: &str = "X-Originating-IP: [192.0.2.99]\nUser-Agent: mail/1.0\n";
const ZONE: &str = "remote.example MX 10 mx.remote.example\nmx.remote.example A 192.0.2.1\n\
    example.com MX 10 mx.example.com\nmx.example.com A 192.0.2.2\n";

impl Project {
    pub(super) fn configuration(
        &self,
        servers: &[PolicyServer],
        milters: &[ScriptedMilter],
    ) -> Configuration {
        let mut ports: Vec<Port> = self.ports.iter().map(|name| Port { name, port: free_port() }).collect();
        ports.extend(
            self.policies.iter().zip(servers).map(|(name, server)| Port { name, port: server.port() }),
        );
        let of_milters = self.milters.iter().filter(|(place, _)| !place.contains('/'));
        ports.extend(of_milters.zip(milters).map(|((name, _), milter)| {
            let port = milter.endpoint().rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            Port { name, port: port.expect("it listens on a port") }
        }));
        Configuration {
            name: self.name,
            main_cf: self.main_cf.into(),
            master_cf: self.master_cf.into(),
            ports,
            filters: self.filters,
            zone: self.zone,
            tables: self.tables.iter().map(|(name, text)| (*name, (*text).to_owned())).collect(),
            not_yet: &[],
            changes: WITHOUT_LOGIN,
        }
    }

    /// Mail passes by every way, and is seen by who must see it.
    fn passes(&self) {
        require!(Uid::effective().is_root(), "Debian's queue manager and delivery agents run only as root");
        let policies: Vec<PolicyServer> =
            self.policies.iter().map(|_| PolicyServer::saying("DUNNO")).collect();
        let (on_sockets, on_ports): (Vec<_>, Vec<_>) =
            self.milters.iter().partition(|(place, _)| place.contains('/'));
        let mut milters: Vec<ScriptedMilter> =
            on_ports.iter().map(|_| ScriptedMilter::start(MilterScript::default())).collect();
        let configuration = self.configuration(&policies, &milters);
        let Running { instance, .. } = &configuration.start(None);
        for (place, _) in &on_sockets {
            let path = instance.home().join("spool").join(place);
            fs::create_dir_all(path.parent().expect("below the queue directory")).expect("our own folder");
            milters.push(ScriptedMilter::start_at(&path, MilterScript::default()));
        }
        let [smtp, submission] = [0, 1].map(|at| configuration.port(self.ports[at]));
        let sink = Sink::start_lmtp(&instance.home().join("spool/private/dovecot-lmtp"), instance.home());
        send(smtp, "info@example.com");
        let text = format!("{PRIVATE}{MESSAGE}");
        let mut client = Client::connect(submission);
        let reply = client.send_message("alice@remote.example", &["bob@example.com"], &text);
        assert_eq!(reply.code, 250, "{}", reply.text());
        assert_eq!(client.command("QUIT").code, 221);
        submit(instance, "bob@example.com");
        let is_whole = |text: &String| text.trim_end().ends_with("8-bit: \u{e4}");
        let count = 3;
        let messages = instance.wait_for(&format!("{count} messages"), || {
            let messages = sink.messages();
            let to_bob: Vec<String> =
                messages.into_iter().filter(|text| text.contains("bob@example.com>")).collect();
            (to_bob.len() == count && to_bob.iter().all(is_whole)).then_some(to_bob)
        });
        assert!(messages.iter().all(|text| is_unchanged(text)), "{messages:#?}");
        let told = messages.iter().filter(|text| text.contains("192.0.2.99")).count();
        assert_eq!(told, usize::from(!self.cleans_submissions), "{messages:#?}");
        for copy in self.copies {
            instance.wait_for_log(&format!("to=<{copy}>, "));
        }
        for ((name, messages), milter) in on_ports.iter().chain(&on_sockets).zip(&milters) {
            // The end of a message's content.
            let ends = milter.take().concat().iter().filter(|packet| packet.code == b'E').count();
            assert_eq!(ends, *messages, "{name}");
        }
        assert_log_is_clean(instance);
        if instance.suite().is_ours("postfix") {
            let told = checked(instance);
            // Postfix's daemons are not asked.
            let is_asked =
                |(name, _): &&(&str, &str)| !name.starts_with("smtpd_") || instance.suite().is_ours("smtpd");
            let wanted = self.told.iter().filter(is_asked);
            let wanted: Vec<_> = wanted.map(|(name, text)| warning(instance, name, text)).collect();
            assert_eq!(told, wanted);
        }
        assert_eq!(instance.run("postfix", &["reload"]).status, Some(0));
    }
}

/// The line about the last setting of a parameter. The postconf of these instances is Debian's, which tells the file alone.
fn warning(instance: &Instance, name: &str, text: &str) -> String {
    let path = instance.home().join("etc/main.cf");
    let main_cf = fs::read_to_string(&path).expect("laid out");
    let lines: Vec<&str> = main_cf.lines().collect();
    let sets = |line: &&str| line.split_once('=').is_some_and(|(left, _)| left.trim_end() == name);
    let number = 1 + lines.iter().rposition(sets).expect("it is set");
    let path = path.display().to_string();
    match text.strip_prefix("FILE: ") {
        Some(of_postconf) => format!("warning: {path}: {of_postconf}"),
        None => format!("warning: {text} ({path}, line {number})"),
    }
}

#[test]
fn docker_mailserver_with_a_milter() {
    Project {
        name: "docker-mailserver",
        main_cf: include_str!("../../configurations/docker-mailserver/main.cf"),
        master_cf: include_str!("../../configurations/docker-mailserver/master.cf"),
        ports: &["smtp", "submission", "10025"],
        filters: &[],
        policies: &[],
        milters: &[("11332", 3)],
        zone: "",
        tables: &[
            SYSTEM_ALIASES,
            ("vhost", "example.com\n"),
            ("vmailbox", MAILBOXES),
            ("virtual", ALIASES),
            ("header_checks.pcre", "/^Subject:.*cheap pills/ REJECT not here\n"),
            ("sender_header_filter.pcre", PRIVATE_HEADERS),
        ],
        copies: &[],
        cleans_submissions: true,
        told: &[],
    }
    .passes();
}

#[test]
fn mailcow_with_proxied_tables_and_copies() {
    Project {
        name: "mailcow",
        main_cf: include_str!("../../configurations/mailcow/main.cf"),
        master_cf: include_str!("../../configurations/mailcow/master.cf"),
        ports: &["smtp", "submission", "588", "590", "589", "10026"],
        filters: &[],
        policies: &[],
        milters: &[("9900", 3)],
        zone: "",
        tables: &[
            SYSTEM_ALIASES,
            ("postscreen_access.cidr", "203.0.113.0/24 reject\n"),
            ("sasl_passwd_transport", ""),
            ("tls_enforce_in_policy", "strict@example.com reject_plaintext_session\n"),
            ("virtual_relay_domains", "relay.example OK\n"),
            ("relay_recipients", "user@relay.example OK\n"),
            ("sender_transports", ""),
            ("sender_acl", "bob@example.com bob\n"),
            ("virtual_alias", "info@example.com bob@example.com\n"),
            ("virtual_resource", ""),
            ("virtual_spamalias", "spam.123@example.com bob@example.com\n"),
            ("virtual_alias_domain", "@alias.example @example.com\n"),
            ("virtual_domains", "example.com OK\nalias.example OK\n"),
            ("recipient_bcc", "info@example.com copy@example.com\n"),
            ("sender_bcc", "other@remote.example copy@example.com\n"),
            ("recipient_canonical", "old@example.com bob@example.com\n"),
            ("virtual_mailbox", MAILBOXES),
            ("sasl_passwd", ""),
            ("tls_policy", ""),
            ("anonymize_headers.pcre", PRIVATE_HEADERS),
            ("custom_transport.pcre", ""),
            ("local_transport", "/@localhost$/ local:\n"),
            ("transports", ""),
            ("allow_local.regexp", "/^watchdog@/ OK\n"),
            ("smtp_dsn_filter", "/^4(.*)/ 5$1\n"),
        ],
        copies: &["copy@example.com"],
        // Only on the way out.
        cleans_submissions: false,
        told: &[(
            "message_size_limit",
            "main.cf configuration error: virtual_mailbox_limit is smaller than message_size_limit",
        )],
    }
    .passes();
}

/// Behind a front end, which tells who has logged in.
pub(super) fn mailu() -> Project {
    Project {
        name: "mailu",
        main_cf: include_str!("../../configurations/mailu/main.cf"),
        master_cf: include_str!("../../configurations/mailu/master.cf"),
        ports: &["smtp", "10025"],
        filters: &[],
        policies: &[],
        milters: &[("11332", 2)],
        zone: "",
        tables: &[
            ("tls_policy.map", ""),
            ("alias", ALIASES),
            ("domain", DOMAINS),
            ("mailbox", "bob@example.com bob\n"),
            ("transport", ""),
            ("sendermap", "alice@remote.example SRS0=hash=tt=remote.example=alice@mx.example.com\n"),
            ("recipientmap", "SRS0=hash=tt=remote.example=alice@mx.example.com alice@remote.example\n"),
            ("senderlogin", "bob@example.com bob\n"),
            ("senderrate", ""),
            ("senderaccess", "spammer@remote.example REJECT\n"),
            ("outclean_header_filter.cf", PRIVATE_HEADERS),
        ],
        copies: &[],
        cleans_submissions: true,
        told: &[(
            "check_ratelimit",
            "FILE: unused parameter: check_ratelimit=check_sasl_access ${podop}senderrate",
        )],
    }
}

#[test]
fn mailu_with_canonical_addresses() {
    mailu().passes();
}

#[test]
fn mail_in_a_box_with_two_milters() {
    Project {
        name: "mailinabox",
        main_cf: include_str!("../../configurations/mailinabox/main.cf"),
        master_cf: include_str!("../../configurations/mailinabox/master.cf"),
        ports: &["smtp", "submission"],
        filters: &[],
        policies: &["10023", "12340"],
        milters: &[("8891", 3), ("8893", 2)],
        zone: ZONE,
        tables: &[
            SYSTEM_ALIASES,
            ("sender-login-maps", "bob@example.com bob@example.com\n"),
            ("virtual-mailbox-domains", DOMAINS),
            ("virtual-mailbox-maps", MAILBOXES),
            ("virtual-alias-maps", ALIASES),
            ("outgoing_mail_header_filters", PRIVATE_HEADERS),
        ],
        copies: &[],
        cleans_submissions: true,
        told: &[
            (
                "message_size_limit",
                "configuration error: mailbox_size_limit is smaller than message_size_limit",
            ),
            (
                "message_size_limit",
                "main.cf configuration error: virtual_mailbox_limit is smaller than message_size_limit",
            ),
        ],
    }
    .passes();
}

#[test]
fn iredmail_with_amavis_and_policy_servers() {
    Project {
        name: "iredmail",
        main_cf: include_str!("../../configurations/iredmail/main.cf"),
        master_cf: include_str!("../../configurations/iredmail/master.cf"),
        ports: &["smtp", "submission", "10024", "10025", "10026"],
        filters: &[("10024", "10025"), ("10026", "10025")],
        policies: &["7777", "12340"],
        milters: &[],
        zone: "",
        tables: &[
            SYSTEM_ALIASES,
            ("header_checks", "/^Subject:.*cheap pills/ DISCARD\n"),
            ("body_checks.pcre", "/^cheap pills here/ REJECT\n"),
            ("command_filter.pcre", "/^EHLO bad$/ EHLO [127.0.0.1]\n"),
            ("helo_access.pcre", "/^localhost$/ REJECT\n"),
            ("sender_access.pcre", "/^spammer@/ REJECT\n"),
            ("transport_maps_user", ""),
            ("transport_maps_domain", ""),
            ("sender_dependent_relayhost_maps", ""),
            ("sender_login_maps", "bob@example.com bob\n"),
            ("virtual_mailbox_domains", DOMAINS),
            ("relay_domains", ""),
            ("virtual_mailbox_maps", MAILBOXES),
            ("virtual_alias_maps", ALIASES),
            ("domain_alias_maps", ""),
            ("catchall_maps", ""),
            ("domain_alias_catchall_maps", ""),
            ("sender_bcc_maps_user", ""),
            ("sender_bcc_maps_domain", ""),
            ("recipient_bcc_maps_user", "info@example.com copy@example.com\n"),
            ("recipient_bcc_maps_domain", ""),
        ],
        copies: &["copy@example.com"],
        cleans_submissions: false,
        told: &[],
    }
    .passes();
}

#[test]
fn yunohost_with_rewritten_senders() {
    Project {
        name: "yunohost",
        main_cf: include_str!("../../configurations/yunohost/main.cf"),
        master_cf: include_str!("../../configurations/yunohost/master.cf"),
        ports: &["smtp", "submission"],
        filters: &[],
        policies: &[],
        milters: &[("11332", 2)],
        zone: "",
        tables: &[
            SYSTEM_ALIASES,
            ("sni", ""),
            ("ldap-domains", DOMAINS),
            ("ldap-accounts", MAILBOXES),
            ("app_senders_login_maps", ""),
            ("ldap-aliases", ALIASES),
            ("ldap-groups", "admins@example.com bob@example.com\n"),
            ("srs-forward", "/^alice@remote\\.example$/ SRS0=hash=tt=remote.example=alice@mx.example.com\n"),
            ("srs-reverse", "/^SRS0=[^=]+=[^=]+=([^=]+)=(.+)@mx\\.example\\.com$/ ${2}@${1}\n"),
            ("header_checks", PRIVATE_HEADERS),
            ("smtp_reply_filter", ""),
        ],
        copies: &[],
        cleans_submissions: false,
        told: &[],
    }
    .passes();
}

#[test]
fn ispconfig_with_every_check_and_amavis() {
    Project {
        name: "ispconfig",
        main_cf: include_str!("../../configurations/ispconfig/main.cf"),
        master_cf: include_str!("../../configurations/ispconfig/master.cf"),
        ports: &["smtp", "submission", "10024", "10025"],
        filters: &[("10024", "10025")],
        policies: &["10023"],
        milters: &[],
        zone: "",
        tables: &[
            SYSTEM_ALIASES,
            ("mailman-aliases", "list: games\n"),
            ("virtual-mailman", "list@lists.example list\n"),
            ("virtual_alias_domains", "alias.example OK\n"),
            ("virtual_forwardings", "info@example.com bob@example.com, copy@example.com\n"),
            ("virtual_email2email", "bob@example.com bob@example.com\n"),
            ("virtual_domains", DOMAINS),
            ("virtual_mailboxes", MAILBOXES),
            ("virtual_uids", ""),
            ("virtual_gids", ""),
            ("virtual_outgoing_bcc", "other@remote.example copy@example.com\n"),
            ("verify_recipients", ""),
            ("virtual_recipient", "closed@example.com REJECT\n"),
            ("transport-mailman", ""),
            ("virtual_transports", ""),
            ("virtual_relaydomains", ""),
            ("virtual_relayrecipientmaps", ""),
            ("virtual_sender_login_maps", ""),
            ("helo_access", "/^mx\\.example\\.com$/ REJECT\n"),
            ("blacklist_helo", "/\\.lan$/ REJECT\n"),
            ("tag_as_originating.re", "/^/ DUNNO\n"),
            ("tag_as_foreign.re", "/^/ DUNNO\n"),
            ("virtual_sender", ""),
            ("virtual_client", ""),
            ("header_checks", "/^Subject:.*cheap pills/ REJECT\n"),
            ("mime_header_checks", "/name=[^>]*\\.(bat|com|exe)/ REJECT\n"),
            ("nested_header_checks", "/^Subject:.*cheap pills/ REJECT\n"),
            ("body_checks", "/^cheap pills here/ REJECT\n"),
        ],
        copies: &["copy@example.com"],
        cleans_submissions: false,
        told: &[
            (
                "message_size_limit",
                "configuration error: mailbox_size_limit is limited but message_size_limit is unlimited",
            ),
            (
                "message_size_limit",
                "main.cf configuration error: virtual_mailbox_limit is limited but message_size_limit is \
                 unlimited",
            ),
        ],
    }
    .passes();
}

#[test]
fn nixos_mail_server() {
    Project {
        name: "nixos",
        main_cf: include_str!("../../configurations/nixos/main.cf"),
        master_cf: include_str!("../../configurations/nixos/master.cf"),
        ports: &["smtp", "submission"],
        filters: &[],
        policies: &[],
        milters: &[("milter/rspamd.sock", 3)],
        zone: ZONE,
        tables: &[
            SYSTEM_ALIASES,
            ("vhosts", "example.com\n"),
            ("valias", ALIASES),
            ("vaccounts", ALIASES),
            ("denied_senders", "spammer@remote.example REJECT\n"),
            ("denied_recipients", "closed@example.com REJECT\n"),
            ("submission_header_cleanup_rules", PRIVATE_HEADERS),
        ],
        copies: &[],
        cleans_submissions: true,
        told: &[(
            "smtpd_tls_eecdh_grade",
            "smtpd_tls_eecdh_grade = ultra has no effect: the groups are those of tls_eecdh_auto_curves",
        )],
    }
    .passes();
}

#[test]
fn mailserver_in_a_container_with_settings_of_a_milter() {
    Project {
        name: "mailserver-admin",
        main_cf: include_str!("../../configurations/mailserver-admin/main.cf"),
        master_cf: include_str!("../../configurations/mailserver-admin/master.cf"),
        ports: &["smtp", "submission"],
        filters: &[],
        policies: &["2103"],
        milters: &[("11332", 3)],
        zone: "",
        tables: &[
            ("virtual-mailbox-domains", DOMAINS),
            ("virtual-mailbox-maps", MAILBOXES),
            ("virtual-alias-maps", ALIASES),
            ("email2email", "bob@example.com bob@example.com\n"),
        ],
        copies: &[],
        cleans_submissions: false,
        told: &[],
    }
    .passes();
}
