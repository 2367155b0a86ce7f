//! Another refusal in place of a refusal: `smtpd_reject_filter_maps` (of 3.11; spec smtpd 9).
//!
//! The key is the whole reply, before its footer. A result that is no refusal is left alone, with a warning.

use std::borrow::Cow;

use lookup::{KeyForm, Maps};
use maillog::shown;

use crate::replies::footer::is_refusal;

/// The reply, or the one that the tables have in its place.
pub(crate) fn filtered<'r>(reply: &'r [u8], maps: &Maps, queue_id: &str) -> Cow<'r, [u8]> {
    if maps.is_empty() || !is_refusal(reply) {
        return Cow::Borrowed(reply);
    }
    // A table that cannot tell has been logged.
    let Some(other) = maps.find(reply, KeyForm::Full).unwrap_or_default() else {
        return Cow::Borrowed(reply);
    };
    if !is_consistent(&other) {
        log::warn!("{queue_id}: ignoring invalid reject filter result: {}", shown(&other));
        return Cow::Borrowed(reply);
    }
    log::info!("{queue_id}: reply filter in: {}", shown(reply));
    log::info!("{queue_id}: reply filter out: {}", shown(&other));
    Cow::Owned(other)
}

/// A refusal whose enhanced code, if it has one, is of the same class.
fn is_consistent(reply: &[u8]) -> bool {
    is_refusal(reply)
        && reply.get(4).is_none_or(|first| !first.is_ascii_digit() || Some(first) == reply.first())
}

#[cfg(test)]
mod tests {
    use super::is_consistent;

    #[test]
    fn results() {
        for (result, expected) in [
            ("450 4.1.1 later", true),
            ("550-5.1.1 never", true),
            ("550 never", true),
            ("450 5.1.1 later", false),
            ("250 2.0.0 Ok", false),
            ("5.1.1 never", false),
            ("550", false),
        ] {
            assert_eq!(is_consistent(result.as_bytes()), expected, "{result}");
        }
    }
}
