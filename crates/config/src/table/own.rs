//! Parameters that Postfix does not have. Each is off by default, so that a main.cf made for
//! Postfix means the same here.

use super::row::{Row, boolean, int, text, time};

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    text("anvil_shared_counters", "").by("anvil").since("Postern"),
    int("backoff_jitter", "0").range(0, 100).by("qmgr").since("Postern"),
    int("cleanup_sessions_per_process", "1").range(1, 0).by("cleanup").since("Postern"),
    int("lmtp_deliveries_per_process", "1").range(1, 0).by("smtp").since("Postern"),
    boolean("lmtp_log_details", "no").by("smtp").since("Postern"),
    text("maillog_copies", "").by("all").since("Postern"),
    text("maillog_events", "").by("all").since("Postern"),
    text("metrics_destinations", "").by("smtp").since("Postern"),
    boolean("metrics_enable", "no").by("all").since("Postern"),
    boolean("milter_log_details", "no").by("cleanup,smtpd").since("Postern"),
    text("postern_postfix_version", "").by("all").since("Postern"),
    text("postern_version", crate::version::POSTERN).by("all").since("Postern"),
    int("smtp_deliveries_per_process", "1").range(1, 0).by("smtp").since("Postern"),
    boolean("smtp_log_details", "no").by("smtp").since("Postern"),
    time("smtpd_duplicate_time", "0s").range(0, 0).by("smtpd").since("Postern"),
    time("smtpd_proxy_command_timeout", "$smtpd_proxy_timeout").range(1, 0).by("smtpd").since("Postern"),
    int("smtpd_proxy_concurrency_limit", "0").range(0, 0).by("smtpd").since("Postern"),
    time("smtpd_proxy_connect_timeout", "$smtpd_proxy_timeout").range(1, 0).by("smtpd").since("Postern"),
    time("smtpd_proxy_data_timeout", "$smtpd_proxy_timeout").range(1, 0).by("smtpd").since("Postern"),
    text("smtpd_proxy_divided_policy", "defer").by("smtpd").since("Postern"),
    boolean("smtpd_proxy_ehlo_learning", "no").by("smtpd").since("Postern"),
    time("smtpd_proxy_grace_time", "0s").range(0, 0).by("smtpd").since("Postern"),
    boolean("smtpd_proxy_log_details", "no").by("smtpd").since("Postern"),
    text("smtpd_proxy_outage_header", "X-Content-Filter: unavailable").by("smtpd").since("Postern"),
    text("smtpd_proxy_outage_policy", "tempfail").by("smtpd").since("Postern"),
    boolean("smtpd_proxy_pipelining", "no").by("smtpd").since("Postern"),
    boolean("smtpd_proxy_prdr", "no").by("smtpd").since("Postern"),
    text("smtpd_proxy_protocol", "smtp").by("smtpd").since("Postern"),
    time("smtpd_proxy_queue_time_limit", "$smtpd_proxy_timeout").range(1, 0).by("smtpd").since("Postern"),
    time("smtpd_proxy_reuse_idle_limit", "10s").range(1, 0).by("smtpd").since("Postern"),
    int("smtpd_proxy_reuse_limit", "1").range(1, 0).by("smtpd").since("Postern"),
    time("smtpd_proxy_verdict_timeout", "$smtpd_proxy_timeout").range(1, 0).by("smtpd").since("Postern"),
    int("smtpd_sessions_per_process", "1").range(1, 0).by("smtpd").since("Postern"),
];
