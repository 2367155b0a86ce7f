//! The server of `sendmail -bs`: its client is who started it, on standard input and output (spec smtpd 2.15).
//!
//! It can do no more than `sendmail` can, so that nothing that protects the service from strangers holds: no restrictions,
//! limits, TLS, logins, filters. What it takes it submits.

use access::settings::classes::Classes;
use config::{Config, Error};

use crate::settings::params::SmtpdParams;
use crate::settings::submitter::Submitter;
use crate::settings::tls::Demand;

/// Whether a process that is started without a master only submits: `mail_owner` has the service itself.
#[must_use]
pub(crate) fn submits(config: &Config) -> bool {
    config.globals().accounts.mail_owner.uid != sys::user::uid()
}

impl SmtpdParams {
    /// The same without what holds for strangers.
    ///
    /// # Errors
    /// A setting that cannot be used.
    pub fn stand_alone(config: &Config) -> Result<Self, Error> {
        let mut params = Self::new(config)?;
        params.submitter = Some(Submitter::new(config)?);
        params.access.submit();
        params.limits.clear();
        params.milters.clear();
        params.tls.demand = Demand::None;
        params.tls.wrappermode = false;
        params.sasl = None;
        params.upstream_proxy = None;
        params.notify_classes = Classes::NONE;
        for list in [
            &mut params.authorized_xclient_hosts,
            &mut params.authorized_xforward_hosts,
            &mut params.client_event_limit_exceptions,
            &mut params.discard_ehlo_keyword_address_maps,
            &mut params.forbid_bare_newline_exclusions,
        ] {
            list.clear();
        }
        Ok(params)
    }
}
