//! The names: what is counted, with which labels.
//!
//! The first label of each is `service`, the name in master.cf; none for what is no service's, as the queue. Names are by OpenMetrics' conventions: a counter's samples
//! end in `_total`, times are in seconds.

/// What the numbers of a family are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They only grow.
    Counter,
    /// They are as things stand.
    Gauge,
    /// Spans of time, by how long they are.
    Histogram,
}

/// Upper bounds of a histogram's buckets, in microseconds, and in seconds as they are shown. The last one has none.
pub(crate) const BUCKETS: [(u64, &str); 11] = [
    (10_000, "0.01"),
    (100_000, "0.1"),
    (1_000_000, "1.0"),
    (5_000_000, "5.0"),
    (30_000_000, "30.0"),
    (60_000_000, "60.0"),
    (300_000_000, "300.0"),
    (3_600_000_000, "3600.0"),
    (21_600_000_000, "21600.0"),
    (86_400_000_000, "86400.0"),
    (u64::MAX, "+Inf"),
];

macro_rules! families {
    ($($variant:ident $kind:ident $name:literal [$($label:literal)*] $help:literal)*) => {
        /// Something that is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Family {
            $(#[doc = concat!("`", $name, "`: ", $help)] $variant,)*
        }

        impl Family {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name, without what the kind of sample adds.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What the numbers are.
            #[must_use]
            pub fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind,)* }
            }

            /// The names of its labels behind `service`.
            #[must_use]
            pub fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($label),*],)* }
            }

            /// A sentence.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }
        }
    };
}

families! {
    LogLines Counter "postern_log_lines" ["program" "severity"]
        "Lines of the log, less those of -v."
    Faults Counter "postern_faults" ["fault" "subject"]
        "Times that something was found wrong on which mail depends."
    FaultsOpen Gauge "postern_open_faults" ["fault" "subject"]
        "What is wrong at the moment; without a subject, how many destinations or clients."
    SmtpdSessions Counter "postern_smtpd_sessions" []
        "Sessions begun: lines connect from."
    SmtpdSessionsEnded Counter "postern_smtpd_sessions_ended" []
        "Sessions ended: lines disconnect from."
    SmtpdSessionsOpen Gauge "postern_smtpd_open_sessions" ["activity"]
        "Sessions in progress, by what they wait for or do."
    SmtpdBroken Counter "postern_smtpd_sessions_broken" ["cause" "stage"]
        "Sessions that ended otherwise than by QUIT: lines lost connection after and its kin."
    SmtpdTransactions Counter "postern_smtpd_transactions" ["kind"]
        "Mail transactions with a first recipient: lines client=, for the queue or a content filter."
    SmtpdActions Counter "postern_smtpd_actions" ["action" "stage" "restriction" "code"]
        "What restrictions and the server itself did about requests: lines reject and its kin."
    SmtpdMilterActions Counter "postern_smtpd_milter_actions" ["action" "stage"]
        "What mail filters did about requests: lines milter-reject and its kin."
    SmtpdProxyVerdicts Counter "postern_smtpd_proxy_verdicts" ["verdict" "code"]
        "Replies of content filters to messages: lines proxy-accept and proxy-reject."
    SmtpdProxyConnections Counter "postern_smtpd_proxy_connections" ["filter"]
        "Connections made to a content filter."
    SmtpdProxyFailures Counter "postern_smtpd_proxy_failures" ["filter" "phase" "cause"]
        "Conversations with a content filter that failed: lines proxy-failure, whether they are logged or not."
    SmtpdProxyVerdictTime Histogram "postern_smtpd_proxy_verdict_seconds" ["filter"]
        "From the end of a message to the content filter's reply to it."
    SmtpdLogins Counter "postern_smtpd_logins" ["outcome"]
        "Logins that succeeded or failed; a failure is a line SASL ... authentication failed."
    SmtpdTls Counter "postern_smtpd_tls_handshakes" ["outcome" "protocol"]
        "TLS handshakes with clients."
    SmtpdLimits Counter "postern_smtpd_client_limits_exceeded" []
        "Clients over a limit: lines limit exceeded."
    CleanupMessages Counter "postern_cleanup_messages" []
        "Messages with a header that names them: lines message-id=."
    CleanupActions Counter "postern_cleanup_actions" ["action" "where"]
        "What header and body checks and Milters did about messages: lines reject, milter-reject and their kin."
    PickupMessages Counter "postern_pickup_messages" []
        "Messages of this machine's users: lines uid=."
    QmgrActive Counter "postern_qmgr_active" []
        "Messages that came into the active queue: lines (queue active)."
    QmgrRemoved Counter "postern_qmgr_removed" []
        "Messages that left the queue: lines removed."
    QmgrExpired Counter "postern_qmgr_expired" ["status"]
        "Messages returned because they were too old: lines returned to sender."
    BounceNotices Counter "postern_bounce_notices" ["kind"]
        "Notices to senders and the postmaster: lines notification."
    Deliveries Counter "postern_deliveries" ["program" "status" "class"]
        "What became of recipients: lines status=; class is the first digit of dsn=."
    DeliveriesOpen Gauge "postern_open_deliveries" []
        "Deliveries in progress."
    DeliveryDelay Histogram "postern_delivery_delay_seconds" ["step"]
        "The delays of those lines: a before the queue manager, b in it, c until the connection stood, d the rest; total."
    DeliveryFailures Counter "postern_delivery_failures" ["phase" "cause"]
        "Attempts of the SMTP client that failed: lines delivery-failure, whether they are logged or not."
    DestinationDeliveries Counter "postern_destination_deliveries" ["destination" "class"]
        "What became of recipients at the destinations that metrics_destinations names; class as with deliveries."
    DestinationFailures Counter "postern_destination_failures" ["destination" "phase" "cause"]
        "Attempts at these destinations that failed."
    DestinationDelay Histogram "postern_destination_delay_seconds" ["destination"]
        "From when a server of these destinations was ready for mail until it had the message: d of the delays."
    Lookups Counter "postern_lookups" ["table" "outcome"]
        "Look-ups in the tables of lists."
    ProcessesStarted Counter "postern_processes_started" []
        "Processes that master started."
    ProcessesFailed Counter "postern_processes_failed" ["cause"]
        "Processes that ended with a status or by a signal: lines exit status, killed by signal."
    Processes Gauge "postern_processes" ["state"]
        "Processes that master has, busy and idle."
    QueueMessages Gauge "postern_queue_messages" ["queue" "age"]
        "Messages in the queue, by how old they are at most."
    QueueOldest Gauge "postern_queue_oldest_age_seconds" ["queue"]
        "The age of the oldest message."
}

impl Family {
    pub(crate) fn numbered(number: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_by_the_conventions() {
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        };
        for (number, family) in Family::ALL.iter().enumerate() {
            let name = family.name();
            assert!(is_word(name) && name.starts_with("postern_"), "{name}");
            assert!(
                !["_total", "_count", "_sum", "_bucket", "_info"].iter().any(|end| name.ends_with(end)),
                "{name}"
            );
            assert!(family.labels().iter().all(|label| is_word(label) && *label != "le"), "{name}");
            assert!(family.help().ends_with('.') && !family.help().contains(['\\', '\n', '"']), "{name}");
            assert_eq!(family.kind() == Kind::Histogram, name.ends_with("_seconds") && !name.contains("age"));
            assert_eq!(Family::numbered(number as u64), Some(*family));
            assert_eq!(Family::ALL.iter().filter(|other| other.name() == name).count(), 1, "{name}");
        }
        assert_eq!(Family::numbered(Family::ALL.len() as u64), None);
    }

    /// The dashboard and the alerts ask for what there is.
    #[test]
    fn what_is_shipped_knows_these_names() {
        let names: Vec<String> = Family::ALL
            .iter()
            .flat_map(|family| {
                let suffixes: &[&str] = match family.kind() {
                    Kind::Counter => &["_total"],
                    Kind::Gauge => &[""],
                    Kind::Histogram => &["_bucket", "_sum", "_count"],
                };
                suffixes.iter().map(|suffix| format!("{}{suffix}", family.name()))
            })
            .chain(["postern_build_info", "postern_counting_dropped_total"].map(str::to_owned))
            .collect();
        for text in [
            include_str!("../../../etc/grafana-dashboard.json"),
            include_str!("../../../etc/prometheus-alerts.yml"),
        ] {
            let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let asked: Vec<&str> = words.filter(|word| word.starts_with("postern_")).collect();
            assert!(asked.len() > 10);
            for word in asked {
                assert!(names.iter().any(|name| name == word), "{word}");
            }
        }
        // A family that nobody sees is nobody's.
        let dashboard = include_str!("../../../etc/grafana-dashboard.json");
        let unseen: Vec<&str> =
            Family::ALL.iter().map(|family| family.name()).filter(|name| !dashboard.contains(name)).collect();
        assert_eq!(unseen, [""; 0]);
    }
}
