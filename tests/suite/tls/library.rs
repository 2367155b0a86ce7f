//! `tls_config_file` and `tls_config_name`: OpenSSL's own settings. Postfix serves without TLS when it is told of a file that
//! cannot be read (3.7.11, 3.10.3, 3.11.7); Postern reads none, says so, and serves with TLS.

use conformance::{Client, Offer, Suite, TlsClient};

use super::{Services, Site};

const SETTINGS: &[(&str, &str)] =
    &[("smtpd_tls_security_level", "may"), ("smtpd_tls_chain_files", "$config_directory/ecdsa.pem")];

const SERVICES: Services = &[
    ("default", &[("tls_config_file", "default")]),
    ("none", &[("tls_config_file", "none")]),
    ("name", &[("tls_config_name", "postfix")]),
    ("missing", &[("tls_config_file", "/nowhere/openssl.cnf")]),
    ("relative", &[("tls_config_file", "openssl.cnf")]),
];

#[test]
fn configuration_files() {
    let site = Site::start("tls-library", SETTINGS, SERVICES, |_| Vec::new());
    let ours = Suite::under_test().is_ours("smtpd");
    for (service, _) in SERVICES {
        let mut client = Client::connect(site.ports[service]);
        client.command("EHLO client.example");
        if !ours && ["missing", "relative"].contains(service) {
            assert_eq!(client.command("STARTTLS").code, 454, "{service}");
            continue;
        }
        let (mut client, _) = client.start_tls(&TlsClient::new(Offer::default())).expect(service);
        assert_eq!(client.command("NOOP").code, 250, "{service}");
    }
    let warnings = if ours {
        [
            "tls_config_name = postfix has no effect: OpenSSL's configuration files are not read; ",
            "tls_config_file = /nowhere/openssl.cnf has no effect: ",
            "tls_config_file = openssl.cnf has no effect: ",
        ]
    } else {
        [
            "error loading the 'global' settings from the /nowhere/openssl.cnf OpenSSL configuration file, ",
            "TLS library problem: ",
            "non-default tls_config_file = openssl.cnf is not an absolute pathname, disabling TLS support",
        ]
    };
    let lines = site.instance.log_of("smtpd");
    let told: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("warning: ")).collect();
    for warning in warnings {
        assert!(told.iter().any(|line| line.starts_with(warning)), "{warning}: {told:#?}");
    }
    let expected = |line: &&str| warnings.iter().any(|warning| line.starts_with(warning));
    assert!(told.iter().all(expected), "{told:#?}");
}
