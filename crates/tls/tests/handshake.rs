//! Many handshakes in one thread, a step at a time, each with a client that sends and takes a few bytes at once.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::{env, fs, process};

use conformance::AnyServer;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tls::{
    AskClients, CipherLists, Handshake, HandshakeError, KeyPair, Named, Peer, Progress, Server, Settings,
    Socket,
};

fn server(test: &str) -> Server {
    let folder = env::temp_dir().join(format!("tls-handshake-{test}-{}", process::id()));
    fs::create_dir_all(&folder).unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["mx.example.com".to_owned()]).unwrap();
    let (certificates, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::write(&certificates, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let settings = Settings {
        chain_files: String::new(),
        pairs: vec![KeyPair {
            what: "ECDSA",
            certificates: certificates.to_string_lossy().into_owned(),
            key: key.to_string_lossy().into_owned(),
        }],
        ca_file: String::new(),
        ca_path: String::new(),
        append_default_ca: false,
        ask: AskClients::No,
        verify_depth: 9,
        purpose: tls::Purpose::Client,
        digest: "sha256".into(),
        protocols: ">=TLSv1.2".into(),
        grade: "medium".into(),
        lists: CipherLists {
            medium: "aNULL:-aNULL:HIGH:MEDIUM:!SEED:+RC4:@STRENGTH".into(),
            ..CipherLists::default()
        },
        exclusions: Vec::new(),
        curves: "X25519 prime256v1".into(),
        server_order: false,
        wording: tls::Wording::OfCurves,
    };
    let server = Server::new(&settings, None).expect("a usable certificate");
    fs::remove_dir_all(folder).unwrap();
    server
}

/// At most so many bytes at a time.
struct Trickle<'s>(&'s TcpStream, usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(self.1);
        self.0.read(&mut buffer[..room])
    }
}

impl Write for Trickle<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(self.1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pair() -> (TcpStream, Socket) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nonblocking(true).unwrap();
    (client, Socket::new(listener.accept().unwrap().0))
}

fn peer<'p>(server_name: &'p dyn Fn(&[u8]) -> Named) -> Peer<'p> {
    Peer { namaddr: "client[192.0.2.1]", log_tickets: false, server_name }
}

#[test]
fn many_at_a_time_in_one_thread() {
    let server = server("many");
    let unknown = |_: &[u8]| Named::Unknown;
    let peer = peer(&unknown);
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_no_client_auth();
    let config = Arc::new(config);
    let mut under_way: Vec<_> = (0..10)
        .map(|number| {
            let (tcp, socket) = pair();
            let name = ServerName::try_from(format!("name{number}.example.com")).unwrap();
            let client = ClientConnection::new(config.clone(), name).unwrap();
            (number, tcp, client, Handshake::new(&server, &peer).unwrap(), socket, false)
        })
        .collect();
    let mut waited = 0;
    while !under_way.is_empty() {
        under_way.retain_mut(|(number, tcp, client, handshake, socket, done)| {
            let mut trickle = Trickle(tcp, 7 + *number);
            if client.wants_write() {
                let _ = client.write_tls(&mut trickle);
            } else if client.read_tls(&mut trickle).is_ok() {
                client.process_new_packets().unwrap();
            }
            if !*done {
                match handshake.advance(socket).unwrap() {
                    Progress::Done(outcome) => {
                        assert_eq!(outcome.established.protocol, "TLSv1.3");
                        *done = true;
                    }
                    Progress::WantsRead | Progress::WantsWrite => waited += 1,
                }
            }
            !*done || client.is_handshaking()
        });
    }
    assert!(waited > 100, "nobody waited for bytes that came one after the other");
}

#[test]
fn what_is_no_handshake() {
    let server = server("none");
    let unknown = |_: &[u8]| Named::Unknown;
    let peer = peer(&unknown);
    let (mut client, mut socket) = pair();
    let mut handshake = Handshake::new(&server, &peer).unwrap();
    assert!(matches!(handshake.advance(&mut socket), Ok(Progress::WantsRead)));
    client.write_all(b"EHLO client.example.net\r\n").unwrap();
    assert!(matches!(handshake.advance(&mut socket), Err(HandshakeError::Protocol(_))));
    assert!(matches!(handshake.advance(&mut socket), Err(HandshakeError::Lost)), "it is over");
    let (client, mut socket) = pair();
    let mut handshake = Handshake::new(&server, &peer).unwrap();
    drop(client);
    assert!(matches!(handshake.advance(&mut socket), Err(HandshakeError::Lost)));
}
