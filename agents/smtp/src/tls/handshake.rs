//! A handshake with one server, and what is logged of it (spec tls-sasl 15 and 15.5).

use maillog::shown;
use tls::client::{OfferError, Outcome, Peer};
use tls::{Digest, HandshakeError, Trust};
use tls_settings::LogLevel;

use crate::tls::terms::Wanted;
use crate::tls::{Level, Terms, Tls, Wire, dane};

/// What a list without protocols stands for.
const ALL_PROTOCOLS: &str = ">=TLSv1";

/// What a certificate is, of what was demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    Verified,
    NotNeeded,
    Missing,
}

/// A session, and what its certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Secured {
    pub(crate) proof: Proof,
    pub(crate) agreed: Agreed,
}

/// What a session is told to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// How far the server is known.
    word: &'static str,
    summary: String,
}

impl Agreed {
    /// An authority vouches for the server's certificate.
    pub(crate) fn is_trusted(&self) -> bool {
        self.word != Trust::Untrusted.word()
    }
}

/// There is no session; the log says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed;

impl Tls {
    /// Puts TLS around a connection; whether its certificate is what was demanded. `relay` is the server's name in the log.
    pub(crate) fn protect(&self, wire: &mut Wire, terms: &Terms, relay: &str) -> Result<Secured, Failed> {
        self.shake_hands(wire, terms, (relay, self.settings.log_level)).map(|(secured, _)| secured)
    }

    /// The same, with as much in the log as `level` has; all that is known of the server besides.
    pub(crate) fn shake_hands(
        &self,
        wire: &mut Wire,
        terms: &Terms,
        (relay, level): (&str, LogLevel),
    ) -> Result<(Secured, Outcome), Failed> {
        let client = self.client.as_ref().ok_or(Failed)?;
        if level.contains(LogLevel::VERBOSE) {
            log::info!("setting up TLS connection to {relay}");
        }
        let offer = client
            .offer(
                if terms.protocols.is_empty() { ALL_PROTOCOLS } else { &terms.protocols },
                &terms.grade,
                &terms.exclusions,
            )
            .map_err(|error| cannot_offer(&error, relay))?;
        let unusable = self.unusable_digests(terms, relay) || unusable_records(terms, relay);
        let peer = Peer {
            offer: &offer,
            server_name: terms.server_name.as_deref(),
            demand: terms.wanted.demand(),
            session: self.settings.keeps_sessions.then_some(terms.session.as_str()),
        };
        match wire.protect(client, peer, self.settings.limit) {
            Ok(outcome) => {
                let agreed = self.tell(&outcome, terms, unusable, (relay, level));
                let falls_back = !unusable && matches!(terms.wanted, Wanted::Unusable(_));
                let is_demanded = terms.level.demands_match() && !falls_back;
                let is_verified = outcome.is_verified && !unusable && !falls_back && terms.failure.is_none();
                let proof = match (is_verified, is_demanded) {
                    (true, _) => Proof::Verified,
                    (false, true) => Proof::Missing,
                    (false, false) => Proof::NotNeeded,
                };
                Ok((Secured { proof, agreed }, outcome))
            }
            Err(error) => {
                complain(&error, relay);
                Err(Failed)
            }
        }
    }

    /// Whether the digests that were demanded are none by their length.
    fn unusable_digests(&self, terms: &Terms, relay: &str) -> bool {
        let Wanted::Fingerprints(digests) = &terms.wanted else { return false };
        let length = Digest::named(&self.settings.client.digest).map(|digest| digest.fingerprint(b""));
        let length = length.map_or(0, |text| text.replace(':', "").len());
        let unusable = digests.iter().filter(|digest| digest.len() != length);
        let count = unusable
            .inspect(|digest| {
                for selector in [1, 0] {
                    log::warn!("{relay}: unusable TLSA RR: 3 {selector} 255 {digest}");
                }
            })
            .count();
        if count == digests.len() {
            log::warn!("{relay}: all fingerprints unusable");
        }
        count == digests.len()
    }

    /// Tells of a session that goes on with another request.
    pub(crate) fn tell_reused(&self, agreed: &Agreed, relay: &str) {
        tell_summary(agreed, "reused", (relay, self.settings.log_level));
    }

    fn tell(
        &self,
        outcome: &Outcome,
        terms: &Terms,
        unusable: bool,
        (relay, level): (&str, LogLevel),
    ) -> Agreed {
        let dialect = self.settings.dialect;
        let demands = terms.level.demands_match();
        let is_resumed = outcome.established.resumed;
        if is_resumed && level.contains(LogLevel::CACHE) {
            log::info!("{relay}: Reusing old session");
        }
        let is_doubtful = unusable || outcome.distrust.is_some() && demands;
        if is_resumed && is_doubtful {
            log::info!(
                "{relay}: re-using session with untrusted certificate, look for details earlier in the log"
            );
        } else if unusable {
            log::info!(
                "server certificate verification failed for {relay}: num=1:unspecified certificate \
                 verification error"
            );
        } else if let Some(complaint) = complaint(outcome, terms, relay)
            && (demands || level.contains(LogLevel::UNTRUSTED))
        {
            log::info!("{}", shown(complaint.as_bytes()));
        }
        let about_matches = LogLevel::CERTIFICATE_MATCH | LogLevel::PEER_CERTIFICATE | LogLevel::VERBOSE;
        let is_told = outcome.is_verified && level.intersects(about_matches);
        if let Some(matched) = outcome.matched.as_ref().filter(|_| is_told) {
            match terms.wanted {
                Wanted::Fingerprints(_) => log::info!("{relay}: Matched fingerprint: {matched}"),
                _ => log::info!("{relay}: matched peername: {matched}"),
            }
        }
        if let Some(record) = outcome.record.as_ref().filter(|_| is_told) {
            log::info!("{relay}: Matched DANE EE certificate at depth 0: {}", dane::shown(record));
        }
        if let Some(certificate) = &outcome.certificate
            && level.intersects(about_matches)
        {
            let (cert, pkey) = dialect.fingerprint_words();
            let issuer = dialect.issuer_word();
            log::info!(
                "{relay}: subject_CN={}, {issuer}={}, {cert}={}, {pkey}={}",
                shown(&certificate.subject),
                shown(&certificate.issuer),
                certificate.fingerprint,
                certificate.pubkey_fingerprint
            );
        }
        // Where names could have been forged nothing is verified.
        let is_half = terms.level == Level::HalfDane && outcome.is_verified;
        let word = match () {
            () if terms.failure.is_some() => Trust::Untrusted.word(),
            () if matches!(terms.wanted, Wanted::Unusable(_)) && !outcome.is_verified => {
                Trust::Untrusted.word()
            }
            () if is_half => Trust::Trusted.word(),
            () => outcome.word(),
        };
        let agreed = Agreed { word, summary: outcome.established.summary() };
        tell_summary(&agreed, "established", (relay, level));
        agreed
    }
}

/// What the certificate lacks.
fn complaint(outcome: &Outcome, terms: &Terms, relay: &str) -> Option<String> {
    match &terms.failure {
        Some(failure) => {
            Some(format!("certificate verification failed for {relay}: external policy failure ({failure})"))
        }
        None => outcome.complaint(relay),
    }
}

fn tell_summary(Agreed { word, summary }: &Agreed, what: &str, (relay, level): (&str, LogLevel)) {
    if level.contains(LogLevel::SUMMARY) {
        log::info!("{word} TLS connection {what} to {relay}: {summary}");
    }
}

/// Tells of TLSA records that fit nothing; whether no certificate can do.
fn unusable_records(terms: &Terms, relay: &str) -> bool {
    for record in &terms.unusable {
        log::warn!("{relay}: unusable TLSA RR: {record}");
    }
    if !matches!(terms.wanted, Wanted::Unusable(_)) {
        return false;
    }
    let is_last_word = terms.level == Level::DaneOnly;
    let what_then = if is_last_word { "" } else { ", fallback to unauthenticated TLS" };
    log::warn!("{relay}: all TLSA records unusable{what_then}");
    is_last_word
}

fn cannot_offer(error: &OfferError, relay: &str) -> Failed {
    match error {
        OfferError::Protocols(_) => log::warn!("{relay}: {error}: aborting TLS session"),
        OfferError::Ciphers(_) => log::warn!("{relay}: {error}"),
        // With OpenSSL there is something to offer, which servers do not want.
        OfferError::Nothing => complain(&HandshakeError::Protocol(error.to_string()), relay),
    }
    Failed
}

fn complain(error: &HandshakeError, relay: &str) {
    match error {
        HandshakeError::Protocol(text) => {
            log::info!("SSL_connect error to {relay}: -1");
            log::warn!("TLS library problem: {text}");
        }
        HandshakeError::Lost | HandshakeError::Io(_) => log::info!("SSL_connect error to {relay}: {error}"),
        HandshakeError::Settings(text) => log::warn!("{relay}: {text}"),
    }
}
