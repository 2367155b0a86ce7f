//! A server that is looked at.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use config::Config;
use server::Fatal;
use smtp::client::Socket;
use smtp::stream::Error;
use tls::Digest;
use tls_settings::LogLevel;

use crate::finger::chain;
use crate::finger::chat::{Answer, Chat, lost};
use crate::finger::command_line::CommandLine;
use crate::protocol::Protocol;
use crate::tls::{Level, Terms, Tls, Wire};

/// A server, and the terms for it.
pub(super) struct Visit<'v> {
    options: &'v CommandLine,
    tls: &'v Tls,
    terms: &'v Terms,
    /// `HOST[ADDRESS]:PORT`, or `HOST[PATH]`.
    name: &'v str,
    own_name: &'v str,
    line_length_limit: usize,
    /// The certificates that were shown.
    chain: RefCell<String>,
}

/// What a look at a server has shown.
#[derive(Debug, Default)]
struct Seen {
    /// There is TLS.
    is_protected: bool,
    /// There is TLS 1.3.
    has_tickets: bool,
    /// The name that it gives itself; nothing where it did not come to leave-taking.
    server: Option<Vec<u8>>,
}

impl<'v> Visit<'v> {
    pub(super) fn new(
        options: &'v CommandLine,
        config: &'v Config,
        tls: &'v Tls,
        terms: &'v Terms,
        name: &'v str,
    ) -> Result<Self, Fatal> {
        let globals = config.globals();
        let line_length_limit = usize::try_from(globals.line_length_limit).unwrap_or_default();
        let (own_name, chain) = (&globals.myhostname, RefCell::default());
        Ok(Self { options, tls, terms, name, own_name, line_length_limit, chain })
    }

    /// Looks at the server at an address.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn of_address(&self, address: SocketAddr) -> io::Result<()> {
        self.repeatedly(|| {
            let socket = sys::socket::connect_inet(address, Some(self.options.connect_limit), None)?;
            socket.set_nodelay(true)?;
            Ok(Socket::Tcp(socket))
        })
    }

    /// Looks at the server behind a socket in the file system.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn of_path(&self, path: &Path) -> io::Result<()> {
        self.repeatedly(|| {
            let socket: UnixStream = sys::socket::connect_unix(path, Some(self.options.connect_limit))?;
            Ok(Socket::Unix(socket))
        })
    }

    /// Looks once, and again as often as is asked for and something new is seen.
    fn repeatedly(&self, connect: impl Fn() -> io::Result<Socket>) -> io::Result<()> {
        let mut seen = self.look(connect()?, false)?;
        self.show_chain();
        let Some(delay) = self.options.reconnect_delay else { return Ok(()) };
        let mut known = BTreeSet::new();
        for _ in 0..self.options.reconnects {
            let Some(server) = seen.server.take() else { return Ok(()) };
            if !self.tls.has_session(self.terms) {
                log::info!("Server declined session caching. Done reconnecting.");
                return Ok(());
            }
            known.insert(server);
            log::info!("Reconnecting after {} seconds", delay.as_secs());
            thread::sleep(delay);
            let socket = match connect() {
                Ok(socket) => socket,
                Err(error) => {
                    log::info!("connect to {}: {}", self.name, sys::error_text(&error));
                    return Ok(());
                }
            };
            seen = self.look(socket, true)?;
            let is_known = seen.server.as_ref().is_some_and(|server| known.contains(server));
            if seen.is_protected && is_known {
                log::info!("Found a previously used server.  Done reconnecting.");
                return Ok(());
            }
        }
        if self.options.reconnects > 0 {
            log::info!("Maximum reconnect count reached.");
        }
        Ok(())
    }

    /// Shows the certificates, behind all that is told of them: nobody may be there to read it.
    fn show_chain(&self) {
        let _ = io::stdout().write_all(self.chain.take().as_bytes());
    }

    /// Looks at the server at the other end of a connection.
    fn look(&self, socket: Socket, is_again: bool) -> io::Result<Seen> {
        let options = self.options;
        let is_silent = !options.shows_chat;
        let mut seen = Seen::default();
        if !is_silent && !is_again {
            log::info!("Connected to {}", self.name);
        }
        let mut name = Vec::new();
        let mut chat =
            Chat::new(Wire::Clear(socket), options.connect_limit, self.line_length_limit, is_silent)?;
        if options.wraps && !self.protect(&mut chat, &mut seen, is_again) {
            return Ok(seen);
        }
        let greeting = match chat.read() {
            Ok(greeting) => greeting,
            Err(error) => {
                log::info!("{} while reading server greeting", lost(&error));
                return Ok(seen);
            }
        };
        if !greeting.is_good() {
            log::info!("SMTP service not available: {}", greeting.told());
            return Ok(seen);
        }
        chat.set_limit(options.command_limit);
        chat.is_shown = !is_again;
        let Some(features) = self.introduce(&mut chat, &mut name) else { return Ok(seen) };
        let offers_tls = features.keywords().any(|word| word == b"STARTTLS");
        if offers_tls && !options.wraps && self.terms.level > Level::None && self.tls.works() {
            if !self.start_tls(&mut chat) || !self.protect(&mut chat, &mut seen, is_again) {
                return Ok(seen);
            }
            // Whatever comes of this, leave is taken.
            if !is_again {
                let _ = self.introduce(&mut chat, &mut name);
            }
        }
        seen.server = Some(name);
        chat.is_shown = true;
        let said = chat.say("QUIT");
        if is_again && seen.has_tickets {
            log::info!("save session {} to memory cache", self.session_name());
        }
        if let Err(error) = said.and_then(|()| chat.read()) {
            log::warn!("{} while sending QUIT command", lost(&error));
        }
        Ok(seen)
    }

    /// What the server says that it can do.
    fn introduce(&self, chat: &mut Chat, name: &mut Vec<u8>) -> Option<Answer> {
        let verb = match self.options.protocol() {
            Protocol::Smtp => "EHLO",
            Protocol::Lmtp => "LHLO",
        };
        let answer = chat.ask(&format!("{verb} {}", self.own_name));
        match answer {
            Ok(answer) if answer.is_good() => {
                *name = answer.keywords().next().unwrap_or_default();
                Some(answer)
            }
            Ok(answer) => {
                log::info!("{verb} rejected: {}", answer.told());
                None
            }
            Err(error) => {
                complain(&error);
                log::info!("{} while sending {verb}", lost(&error));
                None
            }
        }
    }

    /// Whether the server is ready for a handshake.
    fn start_tls(&self, chat: &mut Chat) -> bool {
        match chat.ask("STARTTLS") {
            Ok(answer) if answer.is_good() => true,
            Ok(answer) => {
                log::info!("STARTTLS rejected: {}", answer.told());
                false
            }
            Err(error) => maillog::fatal(format_args!("{} while sending STARTTLS", lost(&error))),
        }
    }

    /// The handshake; whether there is TLS now.
    fn protect(&self, chat: &mut Chat, seen: &mut Seen, is_again: bool) -> bool {
        let mut level = self.options.log_level;
        // It would demand nothing, and is to be told all the same.
        level.set(LogLevel::UNTRUSTED, level.contains(LogLevel::UNTRUSTED) || self.lacks_digests());
        if is_again {
            level -= LogLevel::PEER_CERTIFICATE | LogLevel::CERTIFICATE_MATCH | LogLevel::VERBOSE;
            level |= LogLevel::SUMMARY | LogLevel::CACHE;
            let session = self.session_name();
            log::info!("looking for session {session} in memory cache");
            log::info!("reloaded session {session} from memory cache");
        }
        let Ok((_, outcome)) = self.tls.shake_hands(chat.wire(), self.terms, (self.name, level)) else {
            return false;
        };
        seen.is_protected = true;
        seen.has_tickets = outcome.established.protocol == "TLSv1.3";
        if let Some(certificate) = outcome.certificate.filter(|_| self.options.shows_chain && !is_again) {
            *self.chain.borrow_mut() = chain::text(&self.tls.shown(&certificate));
        }
        true
    }

    fn lacks_digests(&self) -> bool {
        self.options.level == Level::Fingerprint && self.terms.level == Level::Encrypt
    }

    /// What the session is kept under, as it is told.
    fn session_name(&self) -> String {
        let digest = Digest::named("sha256").map(|digest| digest.fingerprint(self.terms.session.as_bytes()));
        format!("{}&{}", self.options.destination, digest.unwrap_or_default().replace(':', ""))
    }
}

/// TLS may be what broke.
fn complain(error: &Error) {
    if let Error::Lost(Some(error)) = error
        && error.kind() == io::ErrorKind::InvalidData
    {
        log::warn!("TLS library problem: {error}");
    }
}
