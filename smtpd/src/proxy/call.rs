//! Calling a filter: one after the other until one takes the message, and for as long as the grace period lasts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use maillog::Cause;

use super::connection::{Attempt, FilterConnection};
use super::counters::Phase;
use super::failure::Failure;
use super::params::ProxyParams;
use crate::mail::origin::Origin;

/// The first pause before a filter that refuses connections is called again; each one is longer, up to
/// [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Opens a conversation up to MAIL with the filter that has least to do. One that is out, or says that it leaves, is
/// passed over. When all refuse the connection, they may be in the middle of a restart: within
/// `smtpd_proxy_grace_time` they are called again. `avoid` is a filter that this message is not for.
///
/// # Errors
/// What the last filter made of it.
pub(super) fn call(
    params: &Arc<ProxyParams>,
    origin: &Origin,
    mail: &[u8],
    avoid: Option<usize>,
) -> Result<FilterConnection, Failure> {
    let begun = Instant::now();
    let avoid: BTreeSet<usize> = avoid.filter(|_| params.filters.count() > 1).into_iter().collect();
    let mut tried = avoid.clone();
    let mut pause = FIRST_PAUSE;
    let mut last = None;
    let mut attempt = Attempt::First;
    loop {
        if let Some(lease) = params.filters.choose(&tried) {
            let index = lease.index();
            match FilterConnection::open(params, lease, origin, mail, attempt) {
                Err(failure) if failure.is_worth_another() => {
                    tried.insert(index);
                    last = Some(failure);
                }
                result => return result,
            }
            continue;
        }
        let failure = last.clone().unwrap_or_else(|| Failure::generic(Phase::Connect, Cause::Resting));
        let left = params.options.grace_time.saturating_sub(begun.elapsed());
        if left.is_zero() || !failure.may_be_restart() {
            return Err(failure);
        }
        sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
        tried.clone_from(&avoid);
        attempt = Attempt::Again;
    }
}
