//! Referrals (RFC 4511, sections 4.1.10 and 4.5.3): parts of a directory that other servers have, with
//! `chase_referrals`.
//!
//! As with OpenLDAP's library, other servers are not told who asks, each is asked by a connection of its own, one of the
//! URLs of a part is enough, and none is asked twice for the same. A part that nobody has is left out; where that is all
//! there is, the result stays "Referral" (observed, 3.7.11).

use std::time::Instant;

use super::protocol::{
    ANSWER_LIMIT, DECODING_ERROR, Found, NoAnswer, REFERRAL, SUCCESS, Search, Session, TIMEOUT,
};
use super::{Ldap, Limits, Url, url};

/// From server to server, as the library has it.
const HOP_LIMIT: usize = 5;

/// The servers that a search leads to.
struct Chase<'c> {
    ldap: &'c Ldap,
    limits: Limits,
    deadline: Instant,
    asked: Vec<Url>,
}

impl Ldap {
    /// Searches, on other servers too where the directory names some.
    pub(super) fn search(
        &self,
        session: &mut Session,
        search: &Search<'_>,
        limits: Limits,
        deadline: Instant,
    ) -> Result<Found, NoAnswer> {
        let found = session.search(search, limits, deadline)?;
        if !self.chases {
            return Ok(found);
        }
        Chase { ldap: self, limits, deadline, asked: Vec::new() }.follow(found, search, 0)
    }
}

impl Chase<'_> {
    /// Adds to what was found what the references in it lead to.
    fn follow(&mut self, mut found: Found, search: &Search<'_>, hops: usize) -> Result<Found, NoAnswer> {
        for urls in std::mem::take(&mut found.references) {
            if Instant::now() >= self.deadline {
                return Err(NoAnswer(TIMEOUT));
            }
            let urls = urls.iter().filter(|_| hops < HOP_LIMIT).filter_map(|url| Url::parse(url).ok());
            let Some(there) = urls.into_iter().find_map(|url| self.search_at(url, search, hops)) else {
                continue;
            };
            found.size += there.size;
            if found.size > ANSWER_LIMIT {
                return Err(NoAnswer(DECODING_ERROR));
            }
            found.entries.extend(there.entries);
            if matches!(found.code, SUCCESS | REFERRAL) {
                found.code = there.code;
            }
        }
        Ok(found)
    }

    /// The same search on another server; nothing when it does not answer.
    fn search_at(&mut self, url: Url, search: &Search<'_>, hops: usize) -> Option<Found> {
        if self.asked.contains(&url) {
            return None;
        }
        self.asked.push(url.clone());
        let Chase { ldap, limits, deadline, .. } = *self;
        let context = if url.kind == url::Kind::Tls { ldap.security.context() } else { None };
        let (mut session, _) = ldap.reach_one(&url, context.as_ref(), deadline)?;
        session.until(deadline.min(Instant::now() + ldap.timeout));
        if session.bind(ldap.version, b"", b"").ok()? != SUCCESS {
            return None;
        }
        let search = Search {
            base: if url.base.is_empty() { search.base } else { &url.base },
            scope: url.scope.unwrap_or(search.scope),
            filter: url.filter.as_deref().unwrap_or(search.filter),
            attributes: search.attributes,
        };
        let found = session.search(&search, limits, deadline).ok()?;
        self.follow(found, &search, hops + 1).ok()
    }
}
