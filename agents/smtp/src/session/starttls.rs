//! From clear text to TLS (spec tls-sasl 15).

use delivery::Status;

use crate::features::Features;
use crate::logins::Protection;
use crate::protocol::Protocol;
use crate::session::{Left, Session, Unusable, broken, refused};
use crate::tls::{Failed, Level, Proof, Secured};

impl Session<'_> {
    /// Starts TLS behind the first EHLO, as the terms have it, and introduces this host again.
    pub(super) fn secure(&mut self) -> Result<(), Unusable> {
        let tls = self.context.tls;
        let (level, host) = (self.terms.level, self.names.host.clone());
        let is_offered = self.features.contains(Features::STARTTLS);
        if is_offered && level == Level::None && tls.settings.notes_offers {
            let name = host.split('[').next().unwrap_or(&host);
            log::info!("Host offered STARTTLS: [{name}]");
        }
        if level == Level::None || !(level.requires_tls() || is_offered && tls.works()) {
            return Ok(());
        }
        if !is_offered {
            let text = format!("TLS is required, but was not offered by host {host}");
            return Err(refused(Status::new("4.7.4", text)));
        }
        if !tls.works() {
            let text = "TLS is required, but our TLS engine is unavailable";
            return Err(refused(Status::new("4.7.5", text)));
        }
        self.set_limit(tls.settings.limit);
        let stage = "receiving the STARTTLS response";
        self.write(b"STARTTLS").map_err(|error| broken(self.lost(&error, stage)))?;
        let answer = self.read(stage).map_err(broken)?;
        if answer.class() != 2 {
            if level.requires_tls() {
                self.look_at(&answer);
                return Err(refused(answer.tls_refusal(&host)));
            }
            return Ok(());
        }
        self.protect()?;
        self.features = Features::empty();
        self.size_limit = None;
        self.mechanisms.clear();
        self.set_limit(self.context.settings.limits.helo);
        match self.context.settings.protocol {
            Protocol::Smtp => self.introduce_with_fall_back(),
            Protocol::Lmtp => self.introduce("LHLO"),
        }
    }

    /// Whether a broken connection may be the fault of TLS, and the server is to be tried without.
    pub(crate) fn may_go_without_tls(&self) -> bool {
        self.conversation.socket().is_encrypted() && self.may_do_without_tls()
    }

    /// No level demands it, the message has waited for it, and no password would be shown.
    fn may_do_without_tls(&self) -> bool {
        let shows_nothing = || match &self.context.tables.logins {
            Some(logins) => matches!(self.credentials(logins), Ok(None)),
            None => true,
        };
        self.terms.level == Level::May && self.context.goes_without_tls && shows_nothing()
    }

    /// The handshake; what lacks what was demanded is of no use.
    pub(super) fn protect(&mut self) -> Result<(), Unusable> {
        let tls = self.context.tls;
        let wire = self.conversation.socket_to_cover();
        match tls.protect(wire, &self.terms, &self.names.relay) {
            Ok(Secured { proof: Proof::Missing, .. }) => {
                Err(refused(Status::new("4.7.5", "Server certificate not verified")))
            }
            Ok(Secured { proof, agreed }) => {
                let is_verified = proof == Proof::Verified;
                self.protection = if is_verified { Protection::VerifiedTls } else { Protection::Tls };
                self.agreed = Some(agreed);
                Ok(())
            }
            Err(Failed) => {
                let status = Status::new("4.7.5", "Cannot start TLS: handshake failure");
                let left = match self.terms.level {
                    Level::May if self.may_do_without_tls() => Left::ClearText,
                    Level::May => Left::Mail,
                    _ => Left::Nothing,
                };
                Err(Unusable { status, left })
            }
        }
    }
}
