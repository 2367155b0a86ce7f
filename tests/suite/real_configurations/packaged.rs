//! A distribution's package, gateways and servers with a filter before the queue.

use std::fs;

use conformance::{Client, Sink, free_port, peers_root, require};
use nix::unistd::Uid;

use super::{
    Configuration, Port, Running, WITHOUT_LOGIN, assert_list_is_short, checked, delivered, send, submit,
    wait_for_mail,
};

/// The files of Debian's package, with what its installation script asks the administrator.
fn debian() -> Configuration {
    let shared = |name: &str| {
        let path = peers_root().join("usr/share/postfix").join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let own = include_str!("../../configurations/debian/main.cf");
    let main_cf = shared("main.cf.debian") + &shared("main.cf.tls") + own;
    // The certificate of the package ssl-cert.
    let main_cf = main_cf
        .replace("/etc/ssl/certs/ssl-cert-snakeoil.pem", "$config_directory/server.pem")
        .replace("/etc/ssl/private/ssl-cert-snakeoil.key", "$config_directory/server.pem")
        // Or the package's script copies the machine's into the jail, for which this machine may lack cpio.
        .replace("smtp_tls_CApath=/etc/ssl/certs", "smtp_tls_CApath=$queue_directory/etc/ssl/certs");
    Configuration {
        name: "debian",
        main_cf,
        master_cf: shared("master.cf.dist"),
        ports: vec![Port { name: "smtp", port: free_port() }],
        filters: &[],
        zone: "",
        tables: vec![("aliases", "postmaster: games\n".into())],
        not_yet: &[],
        changes: WITHOUT_LOGIN,
    }
}

#[test]
fn debian_as_installed() {
    require!(Uid::effective().is_root(), "Debian's queue manager and delivery agents run only as root");
    assert_list_is_short(debian);
    let configuration = debian();
    let Running { instance, .. } = &configuration.start(None);
    let mut client = Client::connect(configuration.port("smtp"));
    assert_eq!(client.greeting().text(), "220 mx.example.com ESMTP Postfix (Debian/GNU)");
    assert_eq!(client.command("QUIT").code, 221);
    send(configuration.port("smtp"), "games@example.com");
    submit(instance, "games+list");
    let folder = instance.home().join("mail/games");
    wait_for_mail(instance, 2, || delivered(&folder));
}

/// A gateway: a front end that hands over descriptors, a filter, re-injection, the two services that others wake as
/// pipes with names, and delivery to the server behind it.
fn proxmox() -> Configuration {
    let ports = ["smtp", "10023", "10025", "26"].map(|name| Port { name, port: free_port() });
    let transport = format!("example.com smtp:[127.0.0.1]:{}\n", ports[3].port);
    Configuration {
        name: "proxmox",
        main_cf: include_str!("../../configurations/proxmox/main.cf").into(),
        master_cf: include_str!("../../configurations/proxmox/master.cf").into(),
        ports: ports.into(),
        filters: &[("10023", "10025")],
        zone: "",
        tables: vec![
            ("aliases", "postmaster: games\n".into()),
            ("domains", "example.com OK\n".into()),
            ("transport", transport),
            ("postscreen_access", "203.0.113.0/24 reject\n".into()),
            ("clientaccess", "203.0.113.0/24 REJECT\n".into()),
            ("senderaccess", "/^spammer@/ REJECT\n".into()),
            ("rcptaccess", "/^nobody@/ REJECT\n".into()),
        ],
        not_yet: &[],
        changes: WITHOUT_LOGIN,
    }
}

#[test]
fn proxmox_mail_gateway_before_queue() {
    require!(Uid::effective().is_root(), "Debian's queue manager and delivery agents run only as root");
    assert_list_is_short(proxmox);
    let configuration = proxmox();
    let Running { instance, .. } = &configuration.start(None);
    let sink = Sink::start(configuration.port("26"), instance.home());
    let mut client = Client::connect(configuration.port("smtp"));
    assert_eq!(client.greeting().text(), "220 mx.example.com ESMTP Proxmox");
    let announced = client.command("EHLO client.example.net");
    assert!(announced.announces("SIZE") && !announced.announces("DSN"), "{}", announced.text());
    assert_eq!(client.command("QUIT").code, 221);
    send(configuration.port("smtp"), "bob@example.com");
    submit(instance, "bob@example.com");
    wait_for_mail(instance, 2, || sink.messages());
    instance.wait_for_log("proxy-accept: END-OF-MESSAGE: 250 2.0.0 Ok: queued as ");
}

/// A server for mailboxes: a front end and a filter for mail from elsewhere, a filter of its own for submission.
pub(super) fn modoboa() -> Configuration {
    let ports =
        ["smtp", "submission", "10024", "10025", "10026"].map(|name| Port { name, port: free_port() });
    Configuration {
        name: "modoboa",
        main_cf: include_str!("../../configurations/modoboa/main.cf").into(),
        master_cf: include_str!("../../configurations/modoboa/master.cf").into(),
        ports: ports.into(),
        filters: &[("10024", "10025"), ("10026", "10025")],
        zone: "",
        tables: vec![
            ("aliases", "postmaster: games\n".into()),
            ("domains", "example.com OK\n".into()),
            ("alias_domains", "alias.example OK\n".into()),
            ("virtual", "info@alias.example bob@example.com\nbob@example.com bob@example.com\n".into()),
            ("relay_domains", "relay.example OK\n".into()),
            ("transport", "relay.example smtp:[127.0.0.1]\n".into()),
            ("login", "bob@example.com bob\n".into()),
            ("maintain", "closed@example.com REJECT\n".into()),
            ("anonymize_headers.pcre", "/^X-Originating-IP:/ IGNORE\n".into()),
        ],
        not_yet: &[],
        changes: WITHOUT_LOGIN,
    }
}

#[test]
fn modoboa_with_amavis() {
    require!(Uid::effective().is_root(), "Debian's queue manager and delivery agents run only as root");
    assert_list_is_short(modoboa);
    let configuration = modoboa();
    let Running { instance, .. } = &configuration.start(None);
    let sink = Sink::start_lmtp(&instance.home().join("spool/private/dovecot-lmtp"), instance.home());
    send(configuration.port("smtp"), "info@alias.example");
    send(configuration.port("submission"), "bob@example.com");
    submit(instance, "bob@example.com");
    wait_for_mail(instance, 3, || sink.messages());
    instance.wait_for_log("proxy-accept: END-OF-MESSAGE: 250 2.0.0 Ok: queued as ");
    assert!(
        instance.log().iter().any(|line| line.ident == "postfix/submission/smtpd"),
        "{}",
        instance.log_text()
    );
}

/// A relay with a filter on every port, and a cleanup service of its own behind one of them.
fn chatmail() -> Configuration {
    let names = ["smtp", "submission", "smtps", "10023", "10024", "10025", "10026"];
    Configuration {
        name: "chatmail",
        main_cf: include_str!("../../configurations/chatmail/main.cf").into(),
        master_cf: include_str!("../../configurations/chatmail/master.cf").into(),
        ports: names.map(|name| Port { name, port: free_port() }).into(),
        filters: &[("10023", "10026"), ("10024", "10025")],
        zone: "",
        tables: vec![
            ("aliases", "postmaster: games\n".into()),
            ("lmtp_header_cleanup", "/^DKIM-Signature:/ IGNORE\n".into()),
            ("login_map", "/^(.*)$/ ${1}\n".into()),
            ("submission_header_cleanup", "/^Received:/ IGNORE\n".into()),
        ],
        not_yet: &[],
        changes: WITHOUT_LOGIN,
    }
}

#[test]
fn chatmail_with_its_filter() {
    require!(Uid::effective().is_root(), "Debian's queue manager and delivery agents run only as root");
    assert_list_is_short(chatmail);
    let configuration = chatmail();
    let Running { instance, .. } = &configuration.start(None);
    let sink = Sink::start_lmtp(&instance.home().join("spool/private/dovecot-lmtp"), instance.home());
    send(configuration.port("smtp"), "bob@example.com");
    instance.wait_for_log("client=unknown[127.0.0.1]");
    wait_for_mail(instance, 1, || sink.messages());
    assert!(sink.messages()[0].contains("\nReceived: from client.example.net"));
    send(configuration.port("submission"), "bob@example.com");
    submit(instance, "bob@example.com");
    wait_for_mail(instance, 3, || sink.messages());
    // The cleanup service behind the submission port takes such headers away.
    let without =
        sink.messages().iter().filter(|text| !text.contains("Received: from client.example.net")).count();
    assert_eq!(without, 2);
    for ident in ["postfix/submission/smtpd", "postfix/reinject/smtpd", "postfix/reinject_incoming/smtpd"] {
        assert!(instance.log().iter().any(|line| line.ident == ident), "{ident}: {}", instance.log_text());
    }
}

#[test]
fn a_configuration_that_works_is_not_talked_about_and_what_is_not_there_yet_is() {
    require!(Uid::effective().is_root(), "Debian's queue manager and delivery agents run only as root");
    for make in [debian, proxmox, modoboa, chatmail] {
        let configuration = make();
        let instance = configuration.prepare(None);
        require!(instance.suite().is_ours("postfix"), "the lines are Postern's");
        assert_eq!(checked(&instance), Vec::<String>::new(), "{}", configuration.name);
        for item in configuration.not_yet {
            let configuration = make();
            let instance = configuration.prepare(Some(item));
            let (name, said) = (configuration.name, checked(&instance));
            assert!(said.len() == 1 && said[0].starts_with(item.complaint), "{name}: {said:?}");
        }
    }
}
