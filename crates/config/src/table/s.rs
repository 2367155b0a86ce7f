//! Parameters with `s`.

use super::row::{Row, boolean, text, time};

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    text("sample_directory", "/etc/postfix").range(1, 0).by("postfix"),
    text("sender_bcc_maps", "").by("cleanup").since("2.1"),
    text("sender_canonical_classes", "envelope_sender, header_sender").range(1, 0).by("cleanup").since("2.2"),
    text("sender_canonical_maps", "").by("cleanup,proxymap,smtpd"),
    text("sender_dependent_default_transport_maps", "").by("trivial-rewrite").since("2.7"),
    text("sender_dependent_relayhost_maps", "").by("trivial-rewrite").since("2.3"),
    text("sendmail_fix_line_endings", "always").range(1, 0).by("sendmail").since("2.9"),
    text("sendmail_path", "/usr/sbin/sendmail").range(1, 0).by("postfix"),
    text("service_name", "").by("all-daemons").since("3.3").steps(&[(11, "amnesiac")]),
    time("service_throttle_time", "60s").range(1, 0).by("master"),
    boolean("show_user_unknown_table_name", "yes").by("smtpd,trivial-rewrite").since("2.0"),
    text("stress", "").by("smtpd").since("2.5"),
    boolean("strict_mailbox_ownership", "yes").by("local,virtual").since("2.5.3"),
    boolean("strict_rfc821_envelopes", "no").by("smtpd"),
    boolean("sun_mailtool_compatibility", "no").by("local"),
    boolean("swap_bangpath", "yes").by("trivial-rewrite"),
];
