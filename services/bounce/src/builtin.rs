//! The templates that are used where the administrator has none of his own.

use crate::kind::Kind;

/// The sender of all notices.
pub(crate) const FROM: &str = "Mail Delivery System <MAILER-DAEMON>";
/// The same with `header_from_format = obsolete`.
pub(crate) const OBSOLETE_FROM: &str = "MAILER-DAEMON (Mail Delivery System)";

/// Subject to the sender, and to the postmaster.
pub(crate) fn subjects(kind: Kind) -> (&'static str, Option<&'static str>) {
    match kind {
        Kind::Failure => ("Undelivered Mail Returned to Sender", Some("Postmaster Copy: Undelivered Mail")),
        Kind::Delay => ("Delayed Mail (still being retried)", Some("Postmaster Warning: Delayed Mail")),
        Kind::Success => ("Successful Mail Delivery Report", None),
        Kind::Verify => ("Mail Delivery Status Report", None),
    }
}

/// The text to the sender.
pub(crate) fn body(kind: Kind) -> &'static str {
    match kind {
        Kind::Failure => FAILURE,
        Kind::Delay => DELAY,
        Kind::Success => SUCCESS,
        Kind::Verify => VERIFY,
    }
}

// Programs that look for notices know them by the first line; the last one is what people know them by. Each has as
// many bytes and lines as Postfix's, so that the sizes in the log are the same.

const FAILURE: &str = "\
This is the mail system at host $myhostname.

Your message has not reached all of its recipients. The ones
listed below did not get it, and it will not be tried again.
The message, or its beginning, is sent back with this report.

Should you need help, write to
postmaster, and include the whole report;
your own message you may leave out.

                   The mail system
";

const DELAY: &str = "\
This is the mail system at host $myhostname.

This is only a warning: there is no need to send your message
a second time.

For $delay_warning_time_hours hour(s) or longer it could not be delivered to the
recipients that are listed below, with the reason that was given
for each one. It stays in the queue, and will be tried again from time
to time, until it is $maximal_queue_lifetime_days day(s) old; if it has not been delivered
by then, it will come back to you.

Should you need help, write to postmaster and include all of
this report: your own message you may leave out of it.

                   The mail system
";

const SUCCESS: &str = "\
This is the mail system at host $myhostname.

Your message was delivered to the recipients that are listed below.
Where it went to a mailbox, this is all that you will hear of it;
where it was passed on to another system, that system might still send
you a report on what has become of it then.

                   The mail system
";

const VERIFY: &str = "\
This is the mail system at host $myhostname.

This is the report on the mail delivery that you wanted.

                   The mail system
";
