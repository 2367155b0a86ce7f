//! The client's side: what becomes of the certificates that servers show, with our own server and with OpenSSL's.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, process, thread};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, PublicKeyData,
    SanType,
};
use sys::transport::Transport;
use tls::client::{Client, Dane, Demand, Handshake, Names, Outcome, Peer, Settings, Tlsa};
use tls::{CipherLists, Digest, Distrust, Named, Socket};

const LIMIT: Duration = Duration::from_secs(20);

/// A key with its certificate, and those above.
struct Party {
    key: KeyPair,
    params: CertificateParams,
    chain: Vec<Vec<u8>>,
}

/// What is special about one.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Server,
    Authority,
    Expired,
}

impl Party {
    fn params(common_name: &str, names: &[&str], kind: Kind) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Tests");
        if !common_name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, common_name);
        }
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
        match kind {
            Kind::Server => {}
            Kind::Authority => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            Kind::Expired => params.not_after = rcgen::date_time_ymd(2001, 1, 1),
        }
        params
    }

    fn alone(common_name: &str, names: &[&str], kind: Kind) -> Party {
        let (key, params) = (KeyPair::generate().unwrap(), Self::params(common_name, names, kind));
        let chain = vec![params.self_signed(&key).unwrap().der().to_vec()];
        Party { key, params, chain }
    }

    fn issue(&self, common_name: &str, names: &[&str], kind: Kind) -> Party {
        let (key, params) = (KeyPair::generate().unwrap(), Self::params(common_name, names, kind));
        let issuer = Issuer::from_params(&self.params, &self.key);
        let mut chain = vec![params.signed_by(&key, &issuer).unwrap().der().to_vec()];
        chain.extend(self.chain.iter().cloned());
        Party { key, params, chain }
    }

    /// Writes `NAME.key`, `NAME.crt` with the chain, `NAME.pem` with both.
    fn write(&self, folder: &Path, name: &str) -> PathBuf {
        use base64::Engine;
        let engine = base64::engine::general_purpose::STANDARD;
        let pem = |der: &Vec<u8>| {
            format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", engine.encode(der))
        };
        let certificates: String = self.chain.iter().map(pem).collect();
        // OpenSSL wants lines of at most 76 characters.
        let certificates: String = certificates
            .lines()
            .flat_map(|line| line.as_bytes().chunks(64).map(|part| String::from_utf8_lossy(part) + "\n"))
            .collect();
        fs::write(folder.join(format!("{name}.key")), self.key.serialize_pem()).unwrap();
        fs::write(folder.join(format!("{name}.crt")), &certificates).unwrap();
        let both = folder.join(format!("{name}.pem"));
        fs::write(&both, self.key.serialize_pem() + &certificates).unwrap();
        both
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let folder = env::temp_dir().join(format!("tls-client-{test}-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn settings(ca_file: &str) -> Settings {
    Settings {
        chain_files: String::new(),
        pairs: Vec::new(),
        ca_file: ca_file.to_owned(),
        ca_path: String::new(),
        append_default_ca: false,
        verify_depth: 9,
        digest: "sha256".into(),
        lists: CipherLists { medium: "HIGH".into(), ..CipherLists::default() },
        curves: "X25519 prime256v1".into(),
        wording: tls::Wording::OfCurves,
        order: tls::client::Order::Name,
    }
}

/// A server of ours with this chain, for one connection, and what a client that demands this makes of it.
fn meet(client: &Client, chain_file: &Path, demand: Demand<'_>) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let settings = tls::Settings {
        chain_files: chain_file.to_string_lossy().into_owned(),
        pairs: Vec::new(),
        ca_file: String::new(),
        ca_path: String::new(),
        append_default_ca: false,
        ask: tls::AskClients::No,
        verify_depth: 9,
        purpose: tls::Purpose::Client,
        digest: "sha256".into(),
        protocols: ">=TLSv1.2".into(),
        grade: "medium".into(),
        lists: CipherLists { medium: "HIGH".into(), ..CipherLists::default() },
        exclusions: Vec::new(),
        curves: "X25519".into(),
        server_order: false,
        wording: tls::Wording::OfCurves,
    };
    let serving = thread::spawn(move || {
        let server = tls::Server::new(&settings, None).expect("a usable chain");
        let mut socket = Socket::new(listener.accept().unwrap().0);
        let unknown = |_: &[u8]| Named::Unknown;
        let peer = tls::Peer { namaddr: "client[127.0.0.1]", log_tickets: false, server_name: &unknown };
        tls::Handshake::new(&server, &peer).unwrap().run(&mut socket, LIMIT).map(|_| ()).unwrap();
    });
    let outcome = connect(client, port, demand, ">=TLSv1.2", None);
    serving.join().unwrap();
    outcome
}

fn connect(
    client: &Client,
    port: u16,
    demand: Demand<'_>,
    protocols: &str,
    session: Option<&str>,
) -> Outcome {
    let offer = client.offer(protocols, "medium", &[]).unwrap();
    let peer = Peer { offer: &offer, server_name: Some("mx.example.com"), demand, session };
    let mut socket = Socket::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
    let outcome = Handshake::new(client, peer).unwrap().run(&mut socket, LIMIT).unwrap();
    if session.is_some() {
        // The ticket comes with the first bytes.
        socket.write_at_once(b"hello\n").unwrap();
        let _ = socket.read_patiently(&mut [0; 100]);
    }
    socket.close_notify();
    outcome
}

fn names(patterns: &[&str]) -> Names {
    let patterns = patterns.iter().map(|name| (*name).to_owned()).collect();
    Names { patterns, wildcards_go_deep: true }
}

#[test]
fn authorities_and_names() {
    let folder = Folder::new("names");
    let root = Party::alone("Root", &[], Kind::Authority);
    root.write(&folder.0, "root");
    let client = Client::new(&settings(&folder.0.join("root.crt").to_string_lossy())).unwrap();
    let intermediate = root.issue("Intermediate", &[], Kind::Authority);
    let unknown = Distrust::SelfSigned;
    let stranger = Party::alone("Stranger", &[], Kind::Authority);
    let nobody = Some(Distrust::UnknownIssuer("/O=Tests/CN=Stranger".into()));
    for (what, party, expected, matched, distrust) in [
        (
            "good",
            root.issue("x", &["mx.example.com"], Kind::Server),
            "Verified",
            Some("mx.example.com"),
            None,
        ),
        (
            "with an intermediate",
            intermediate.issue("x", &["a.example", "mx.example.com"], Kind::Server),
            "Verified",
            Some("mx.example.com"),
            None,
        ),
        (
            "wildcard",
            root.issue("x", &["*.example.com"], Kind::Server),
            "Verified",
            Some("*.example.com"),
            None,
        ),
        (
            "wrong name",
            root.issue("mx.example.com", &["other.example"], Kind::Server),
            "Untrusted",
            None,
            Some(Distrust::WrongName),
        ),
        (
            "subject",
            root.issue("mx.example.com", &[], Kind::Server),
            "Verified",
            Some("mx.example.com"),
            None,
        ),
        // An address is no name, so that the subject counts.
        (
            "address",
            root.issue("mx.example.com", &["127.0.0.1"], Kind::Server),
            "Verified",
            Some("mx.example.com"),
            None,
        ),
        ("no name", root.issue("", &[], Kind::Server), "Untrusted", None, Some(Distrust::WrongName)),
        (
            "expired",
            root.issue("x", &["mx.example.com"], Kind::Expired),
            "Untrusted",
            Some("mx.example.com"),
            Some(Distrust::Expired),
        ),
        (
            "self-signed",
            Party::alone("x", &["mx.example.com"], Kind::Server),
            "Untrusted",
            Some("mx.example.com"),
            Some(unknown),
        ),
        (
            "of a stranger",
            stranger.issue("x", &["mx.example.com"], Kind::Server),
            "Untrusted",
            Some("mx.example.com"),
            nobody,
        ),
    ] {
        let file = party.write(&folder.0, "server");
        let wanted = names(&["mx.example.com"]);
        let outcome = meet(&client, &file, Demand::Names(&wanted));
        assert_eq!(outcome.word(), expected, "{what}: {outcome:?}");
        assert_eq!(outcome.matched.as_deref(), matched, "{what}");
        assert_eq!(outcome.distrust, distrust, "{what}");
        // The lines of Postfix's smtp (3.7.11).
        let complaint = outcome.complaint("mx[192.0.2.1]:25");
        let failed = "certificate verification failed for mx[192.0.2.1]:25:";
        assert_eq!(
            complaint,
            distrust.as_ref().map(|distrust| match distrust {
                Distrust::Expired => format!("server {failed} certificate has expired"),
                Distrust::WrongName => format!("server {failed} num=62:hostname mismatch"),
                Distrust::SelfSigned => format!("{failed} self-signed certificate"),
                _ => format!("{failed} untrusted issuer /O=Tests/CN=Stranger"),
            })
        );
        let outcome = meet(&client, &file, Demand::Nothing);
        let is_good = matches!(distrust, None | Some(Distrust::WrongName));
        let trust = if is_good { "Trusted" } else { "Untrusted" };
        assert_eq!(outcome.word(), trust, "{what}");
        assert_eq!(outcome.certificate.unwrap().chain, party.chain, "{what}");
    }
    // One without a chain that is complete.
    let mut party = intermediate.issue("x", &["mx.example.com"], Kind::Server);
    party.chain.truncate(1);
    let outcome = meet(&client, &party.write(&folder.0, "server"), Demand::Nothing);
    assert_eq!(outcome.word(), "Untrusted");
    assert_eq!(outcome.distrust, Some(Distrust::UnknownIssuer("/O=Tests/CN=Intermediate".into())));
}

#[test]
fn fingerprints() {
    let folder = Folder::new("fingerprints");
    let party = Party::alone("x", &["mx.example.com"], Kind::Expired);
    let file = party.write(&folder.0, "server");
    for digest in ["md5", "sha1", "sha256"] {
        let client = Client::new(&Settings { digest: digest.into(), ..settings("") }).unwrap();
        let digest = Digest::named(digest).unwrap();
        let certificate = digest.fingerprint(&party.chain[0]);
        let key = digest.fingerprint(&party.key.subject_public_key_info());
        for wanted in [certificate.clone(), key.to_lowercase(), certificate.replace(':', "")] {
            let outcome = meet(&client, &file, Demand::Fingerprints(&["AA".into(), wanted.clone()]));
            assert_eq!((outcome.word(), outcome.matched), ("Verified", Some(wanted)));
        }
        let outcome = meet(&client, &file, Demand::Fingerprints(&["AA".into()]));
        assert_eq!((outcome.word(), outcome.matched), ("Untrusted", None));
    }
}

#[test]
fn tlsa_records() {
    use aws_lc_rs::digest::{SHA256, SHA512, digest};
    let folder = Folder::new("tlsa");
    let root = Party::alone("Root", &[], Kind::Authority);
    let server = root.issue("x", &["mx.example.com"], Kind::Server);
    let other_name = root.issue("x", &["other.example"], Kind::Server);
    let late = root.issue("x", &["other.example"], Kind::Expired);
    let mut short = root.issue("x", &["mx.example.com"], Kind::Server);
    short.chain.truncate(1);
    let client = Client::new(&settings("")).unwrap();
    let data = |party: &Party, selector: u8, matching: u8| {
        let whole = if selector == 0 { party.chain[0].clone() } else { party.key.subject_public_key_info() };
        match matching {
            0 => whole,
            1 => digest(&SHA256, &whole).as_ref().to_vec(),
            _ => digest(&SHA512, &whole).as_ref().to_vec(),
        }
    };
    for selector in [0, 1] {
        for matching in [0, 1, 2] {
            // Without the issuer's certificate in the chain only a whole one in the record is of use.
            let of_short = if matching == 0 { "Verified" } else { "Untrusted" };
            for (usage, of, shown, expected) in [
                (3, &server, &server, "Verified"),
                (3, &late, &late, "Verified"),
                (3, &server, &other_name, "Untrusted"),
                (3, &root, &server, "Untrusted"),
                (2, &root, &server, "Verified"),
                (2, &root, &other_name, "Untrusted"),
                (2, &root, &late, "Untrusted"),
                (2, &server, &server, "Untrusted"),
                (2, &root, &short, of_short),
            ] {
                let record = Tlsa { usage, selector, matching, data: data(of, selector, matching) };
                let dane = Dane::new(&[record], "sha512 sha256", names(&["mx.example.com"])).unwrap();
                let file = shown.write(&folder.0, "server");
                let outcome = meet(&client, &file, Demand::Dane(&dane));
                let case = format!("{usage} {selector} {matching} {expected}");
                assert_eq!(outcome.word(), expected, "{case}: {:?}", outcome.distrust);
            }
        }
    }
}

/// OpenSSL's own server, that says who came.
struct OpenSsl {
    child: Child,
    port: u16,
}

impl OpenSsl {
    fn start(folder: &Path, arguments: &[&str]) -> Option<OpenSsl> {
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-rev"])
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut lines = BufReader::new(child.stdout.take()?).lines();
        let port = loop {
            let line = lines.next()?.ok()?;
            if let Some(port) = line.strip_prefix("ACCEPT 127.0.0.1:") {
                break port.trim().parse().ok()?;
            }
        };
        thread::spawn(move || lines.for_each(drop));
        Some(OpenSsl { child, port })
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn with_openssl() {
    let folder = Folder::new("openssl");
    let root = Party::alone("Root", &[], Kind::Authority);
    root.write(&folder.0, "root");
    root.issue("Server", &["mx.example.com"], Kind::Server).write(&folder.0, "server");
    let identity = root.issue("Client", &[], Kind::Server).write(&folder.0, "client");
    let with_identity = Settings {
        chain_files: identity.to_string_lossy().into_owned(),
        ..settings(&folder.0.join("root.crt").to_string_lossy())
    };
    let (client, stranger) = (Client::new(&with_identity).unwrap(), Client::new(&settings("")).unwrap());
    let wanted = names(&["mx.example.com"]);
    let arguments = ["-cert", "server.crt", "-cert_chain", "server.crt", "-key", "server.key"];
    let demanding = ["-Verify", "3", "-verify_return_error", "-CAfile", "root.crt"];
    let Some(server) = OpenSsl::start(&folder.0, &[&arguments[..], &demanding[..]].concat()) else {
        eprintln!("no openssl here");
        return;
    };
    for (protocol, cipher) in
        [("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"), ("TLSv1.3", "TLS_AES_256_GCM_SHA384")]
    {
        let mut resumed = Vec::new();
        for _ in 0..3 {
            let outcome = connect(&client, server.port, Demand::Names(&wanted), protocol, Some(protocol));
            assert_eq!((outcome.word(), outcome.established.protocol), ("Verified", protocol));
            assert_eq!(outcome.established.cipher, cipher);
            resumed.push(outcome.established.resumed);
        }
        assert_eq!(resumed, [false, true, true], "{protocol}");
        let outcome = connect(&client, server.port, Demand::Names(&wanted), protocol, None);
        assert!(!outcome.established.resumed);
    }
    drop(server);
    let server = OpenSsl::start(&folder.0, &arguments).expect("it was there");
    let outcome = connect(&stranger, server.port, Demand::Nothing, "TLSv1.3", None);
    assert_eq!(
        outcome.established.summary(),
        "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 \
         server-signature ECDSA (prime256v1) server-digest SHA256"
    );
    assert_eq!(outcome.word(), "Untrusted");
}

#[test]
fn what_is_no_offer() {
    let client = Client::new(&settings("")).unwrap();
    let fault = |protocols: &str, grade: &str, exclude: &str| {
        client.offer(protocols, grade, &[exclude.to_owned()]).err().map(|error| error.to_string())
    };
    assert_eq!(fault(">=TLSv1.2", "medium", ""), None);
    assert_eq!(fault("TLSv1.3", "medium", "AES CHACHA20"), None);
    let nothing = Some("no protocol and cipher is left".to_owned());
    assert_eq!(fault("TLSv1.2", "medium", "AES CHACHA20"), nothing);
    assert_eq!(fault("TLSv1.1", "medium", ""), Some("Invalid TLS protocol list \"TLSv1.1\"".into()));
    assert_eq!(fault("", "superb", ""), Some("invalid cipher grade: \"superb\"".into()));
}
