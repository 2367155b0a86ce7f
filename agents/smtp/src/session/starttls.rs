//! From clear text to TLS (spec tls-sasl 15).

use delivery::Status;

use crate::details::Phase;
use crate::features::Features;
use crate::logins::Protection;
use crate::protocol::Protocol;
use crate::session::{Left, Session, Unusable, broken, refused};
use crate::tls::{End, Failed, Level, Proof, Requirement, Secured};

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
        if level == Level::None || !(self.terms.demands_tls() || is_offered && tls.works()) {
            self.standing.clear_text();
            return Ok(());
        }
        if !is_offered {
            return Err(self.without_starttls(|| {
                let text =
                    format!("Sender requested REQUIRETLS, but TLS service was not offered by host {host}");
                let text_of_level = format!("TLS is required, but was not offered by host {host}");
                (Status::new("5.7.30", text), Status::new("4.7.4", text_of_level))
            }));
        }
        if !tls.works() {
            let text = "TLS is required, but our TLS engine is unavailable";
            return Err(refused(Status::new("4.7.5", text)));
        }
        self.enter(Phase::StartTls);
        self.set_limit(tls.settings.limit);
        let stage = "receiving the STARTTLS response";
        self.write(b"STARTTLS").map_err(|error| broken(self.lost(&error, stage)))?;
        let answer = self.read(stage).map_err(broken)?;
        if answer.class() != 2 {
            if self.terms.demands_tls() {
                self.look_at(&answer);
                return Err(
                    self.without_starttls(|| (answer.requiretls_refusal(&host), answer.tls_refusal(&host)))
                );
            }
            self.standing.clear_text();
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

    /// The server does not start TLS, which there has to be: for the sender, or else by the level.
    fn without_starttls(&mut self, statuses: impl FnOnce() -> (Status, Status)) -> Unusable {
        if self.terms.level.requires_tls() {
            self.standing.level(End::Violated(""));
        }
        let (for_sender, for_level) = statuses();
        if self.terms.requirement.is_some_and(Requirement::demands_tls) {
            self.standing.required(End::Violated("nostarttls"));
            return Unusable { status: for_sender, left: Left::Others };
        }
        refused(for_level)
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
        let may_be_clear = self.terms.level == Level::May && !self.terms.demands_tls();
        may_be_clear && self.context.goes_without_tls && shows_nothing()
    }

    /// Whether it can be asked for REQUIRETLS, which means nothing outside TLS.
    pub(crate) fn takes_requiretls(&self) -> bool {
        self.protection != Protection::None && self.features.contains(Features::REQUIRETLS)
    }

    /// What becomes of REQUIRETLS now that the server is ready for mail.
    pub(crate) fn decide_requiretls(&mut self) {
        let Some(requirement) = self.terms.requirement else { return };
        if self.lacks_smtputf8() {
            return;
        }
        let is_matched = self.protection == Protection::VerifiedTls;
        let end = match (self.takes_requiretls(), is_matched) {
            (true, true) => End::Met,
            (true, false) => End::Degraded("nocertmatch"),
            (false, _) if requirement == Requirement::Enforce => End::Violated("none"),
            (false, _) => End::Degraded("none"),
        };
        self.standing.required(end);
        if !self.takes_requiretls()
            && self.protection != Protection::None
            && requirement != Requirement::Enforce
        {
            log::info!(
                "{}: Sender requested REQUIRETLS, but REQUIRETLS support was not offered by host {}",
                self.context.delivery.id(),
                self.names.host
            );
        }
    }

    /// Why it does not get a message whose sender demands REQUIRETLS.
    pub(crate) fn lacks_requiretls(&self) -> Option<Status> {
        let is_enforced = self.terms.requirement == Some(Requirement::Enforce);
        (is_enforced && !self.takes_requiretls()).then(|| {
            let host = &self.names.host;
            let text = format!(
                "Sender requested REQUIRETLS, but no server was found that supports REQUIRETLS. \
                 The last attempted server was {host}"
            );
            Status::new("5.7.30", text)
        })
    }

    /// The certificate is not what was demanded.
    fn without_match(&mut self, is_trusted: bool) -> Unusable {
        self.standing.level(End::Violated(""));
        if self.terms.requirement != Some(Requirement::Enforce) {
            self.standing.required(End::Degraded("nocertmatch"));
            return refused(Status::new("4.7.5", "Server certificate not verified"));
        }
        self.standing.required(End::Violated("nocertmatch"));
        let (what, host) = (if is_trusted { "matching" } else { "trusted" }, &self.names.host);
        let text = format!(
            "Sender requested REQUIRETLS, but no {what} server certificate was found. \
             The last attempted server was {host}"
        );
        Unusable { status: Status::new("5.7.10", text), left: Left::Others }
    }

    /// The handshake; what lacks what was demanded is of no use.
    pub(super) fn protect(&mut self) -> Result<(), Unusable> {
        self.enter(Phase::Handshake);
        let tls = self.context.tls;
        let wire = self.conversation.socket_to_cover();
        match tls.protect(wire, &self.terms, &self.names.relay) {
            Ok(Secured { proof: Proof::Missing, agreed }) => Err(self.without_match(agreed.is_trusted())),
            Ok(Secured { proof, agreed }) => {
                let is_verified = proof == Proof::Verified;
                let falls_back = self.terms.level.demands_match() && !is_verified;
                self.standing.level(if falls_back { End::Degraded("encrypt") } else { End::Met });
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
