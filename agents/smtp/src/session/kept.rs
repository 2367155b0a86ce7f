//! A session that goes on with the next request (spec smtp-client 10).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Attributes, Context, Names, Session};
use crate::features::Features;
use crate::reuse::{Connection, Endpoint};
use crate::tls::{End, Security, Terms};

/// Postfix's numbers of what a server can do.
const FEATURES: [(i32, Features); 8] = [
    (1, Features::EIGHT_BIT),
    (2, Features::PIPELINING),
    (3, Features::SIZE),
    (4, Features::STARTTLS),
    (5, Features::AUTH),
    (15, Features::DSN),
    (21, Features::SMTPUTF8),
    (23, Features::REQUIRETLS),
];
const ATTRIBUTES: [(i32, Attributes); 7] = [
    (7, Attributes::NAME),
    (8, Attributes::ADDR),
    (9, Attributes::PROTO),
    (10, Attributes::HELO),
    (11, Attributes::SOURCE),
    (18, Attributes::PORT),
    (20, Attributes::IDENT),
];
const NO_ESMTP: i32 = 1 << 16;
const DELAYS_DOT: i32 = 1 << 17;

/// How long a connection may be used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Life {
    /// It is to be kept.
    pub(crate) stores: bool,
    /// How often it was used again.
    pub(crate) reuses: i32,
    /// Seconds since 1970.
    expires: i64,
    /// Something came that is no reply.
    pub(crate) is_spoilt: bool,
}

impl Life {
    /// Of a connection that is being made.
    pub(crate) fn begins(stores: bool, limit: Duration) -> Self {
        let limit = i64::try_from(limit.as_secs()).unwrap_or(i64::MAX);
        Self { stores, expires: now().saturating_add(limit), ..Self::default() }
    }
}

impl<'a> Session<'a> {
    /// Goes on with a connection that was kept, if the server still wants that.
    pub(crate) fn resumed(
        context: Context<'a>,
        names: Names,
        security: Security,
        connection: Connection,
        endpoint: &Endpoint,
    ) -> Option<Self> {
        let mut session = Self::new(context, names, security, connection.wire).ok()?;
        session.protection = connection.protection;
        if let Some(agreed) = &connection.agreed {
            context.tls.tell_reused(agreed, &session.names.relay);
            session.standing.level(End::Met);
        }
        session.agreed = connection.agreed;
        let has = |bit: i32| endpoint.features & (1 << bit) != 0;
        session.features =
            FEATURES.iter().filter(|(bit, _)| has(*bit)).map(|(_, feature)| *feature).collect();
        session.attributes =
            ATTRIBUTES.iter().filter(|(bit, _)| has(*bit)).map(|(_, attribute)| *attribute).collect();
        session.features.set(Features::XFORWARD, !session.attributes.is_empty());
        session.features.set(Features::NO_ESMTP, endpoint.features & NO_ESMTP != 0);
        session.delays_dot = endpoint.features & DELAYS_DOT != 0;
        // What was kept once is kept again, whatever the request says (observed, 3.7.11).
        session.life =
            Life { stores: true, reuses: endpoint.reuses + 1, expires: endpoint.expires, is_spoilt: false };
        session.set_limit(session.context.settings.limits.rset);
        session.write(b"RSET").ok()?;
        let answer = session.read("sending RSET probe").ok()?;
        (answer.class() == 2).then_some(())?;
        session.ready = SystemTime::now().into();
        Some(session)
    }

    /// Whether the connection is to be kept, unless it is spoilt.
    pub(crate) fn is_to_be_kept(&self) -> bool {
        let Life { stores, reuses, expires, .. } = self.life;
        let limit = self.context.settings.reuse_count_limit;
        let may_be_kept = !self.conversation.socket().is_encrypted() || self.terms.is_kept;
        stores && may_be_kept && (limit <= 0 || reuses < limit) && now() <= expires
    }

    /// The connection, and what the next one must know.
    pub(crate) fn into_kept(self) -> (Endpoint, Connection, Terms) {
        let of_features = FEATURES.iter().filter(|(_, feature)| self.features.contains(*feature));
        let of_attributes = ATTRIBUTES.iter().filter(|(_, attribute)| self.attributes.contains(*attribute));
        let bits = of_features.map(|(bit, _)| *bit).chain(of_attributes.map(|(bit, _)| *bit));
        let mut features = bits.fold(0, |features, bit| features | 1 << bit);
        for (feature, bit) in
            [(self.features.contains(Features::NO_ESMTP), NO_ESMTP), (self.delays_dot, DELAYS_DOT)]
        {
            features |= if feature { bit } else { 0 };
        }
        let Life { reuses, expires, .. } = self.life;
        let wire = self.conversation.into_socket();
        let connection = Connection { wire, protection: self.protection, agreed: self.agreed };
        (Endpoint { level: 0, reuses, features, expires }, connection, self.terms)
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
