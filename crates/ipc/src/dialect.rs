//! What the internal protocols look like in the version of Postfix that is around us (spec ipc 4).
//!
//! Nothing on a wire tells the version, so a parameter does: `postern_postfix_version`. What changed between 3.7 and
//! 3.12 in the messages that Postern sends or reads is asked for here, and nowhere else (what changed in log lines and
//! replies is asked for below):
//!
//! | since | what |
//! | --- | --- |
//! | 3.8 | smtpd counts a client at anvil by its network; policy requests end with `compatibility_level`, `mail_version` |
//! | 3.10 | the option word of requests to bounce is called `sendopts`, no longer `smtputf8` |
//! | 3.11 | showq tells the original recipient, and which log the reason is from; it reads the `bounce` log too; requests |
//! |      | to proxymap have `instance_flags`, its replies `flags`; smtpd knows nobody behind a broken HAProxy header |
//! | 3.12 | anvil counts TLS traces (`tlstr`); policy requests have `tls_sni` |
//!
//! Flag bits that a later version added (`sendopts` 16 and 32, cleanup's 1024) need no dialect: a version that does not
//! know them carries or ignores them.

/// The dialect of one Postfix version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dialect {
    minor: u32,
}

impl Default for Dialect {
    /// That of 3.7, the version that Postern follows.
    fn default() -> Self {
        Dialect::of_postfix_3(7)
    }
}

impl Dialect {
    /// The dialect of Postfix 3.`minor`.
    #[must_use]
    pub const fn of_postfix_3(minor: u32) -> Self {
        Dialect { minor }
    }

    /// The name of the option word in requests to bounce, defer and trace.
    #[must_use]
    pub(crate) fn option_word(self) -> &'static str {
        if self.minor >= 10 { "sendopts" } else { "smtputf8" }
    }

    /// Whether showq tells original recipients and the class of the log.
    #[must_use]
    pub fn showq_tells_origins(self) -> bool {
        self.minor >= 11
    }

    /// Whether requests to proxymap have the flags of the open call, and its replies those of the table.
    #[must_use]
    pub fn proxymap_tells_instance_flags(self) -> bool {
        self.minor >= 11
    }

    /// Whether anvil knows the event `tlstr`.
    #[must_use]
    pub(crate) fn anvil_counts_tls_traces(self) -> bool {
        self.minor >= 12
    }

    /// Whether smtpd's clients are known to anvil by their network instead of their address.
    #[must_use]
    pub fn anvil_knows_networks(self) -> bool {
        self.minor >= 8
    }

    /// Whether policy requests have `compatibility_level` and `mail_version`.
    #[must_use]
    pub(crate) fn policy_tells_versions(self) -> bool {
        self.minor >= 8
    }

    /// Whether a client whose load balancer does not say who it is is logged as unknown, not as the load balancer.
    #[must_use]
    pub fn broken_upstream_proxy_is_unknown(self) -> bool {
        self.minor >= 11
    }

    /// What a certificate's and its key's fingerprint are called in the log.
    #[must_use]
    pub fn fingerprint_words(self) -> (&'static str, &'static str) {
        if self.minor >= 9 {
            ("cert fingerprint", "pkey fingerprint")
        } else {
            ("fingerprint", "pkey_fingerprint")
        }
    }

    /// What the SMTP client's log calls the issuer of a server's certificate.
    #[must_use]
    pub fn issuer_word(self) -> &'static str {
        if self.minor >= 9 { "issuer" } else { "issuer_CN" }
    }

    /// Whether a client's public key is looked for before its certificate in `relay_clientcerts`.
    #[must_use]
    pub fn asks_for_public_keys_first(self) -> bool {
        self.minor >= 9
    }

    /// Whether lines about the end of a session begin with the queue ID, or `NOQUEUE`.
    #[must_use]
    pub fn ends_tell_queue_ids(self) -> bool {
        self.minor >= 10
    }

    /// Whether `reject:` lines and their like end with who has logged in.
    #[must_use]
    pub fn rejects_tell_logins(self) -> bool {
        self.minor >= 10
    }

    /// Whether a mechanism that is not offered is named to the client and in the log.
    #[must_use]
    pub fn names_bad_mechanisms(self) -> bool {
        self.minor >= 10
    }

    /// Whether `smtpd.conf` lies where Cyrus SASL's library looks for it, and `cyrus_sasl_config_path` counts.
    #[must_use]
    pub fn finds_sasl_as_the_library(self) -> bool {
        self.minor >= 10
    }

    /// Whether who has logged in elsewhere, by XCLIENT, counts as logged in where logins are not possible.
    #[must_use]
    pub fn xclient_logins_count(self) -> bool {
        self.minor >= 10
    }

    /// Whether cleanup logs that it has removed a message.
    #[must_use]
    pub fn cleanup_tells_removals(self) -> bool {
        self.minor >= 10
    }

    /// Whether `HELP` is a command.
    #[must_use]
    pub fn knows_help(self) -> bool {
        self.minor >= 9
    }

    /// Whether restrictions that have been told to go for long do not work any more.
    #[must_use]
    pub fn has_removed_old_restrictions(self) -> bool {
        self.minor >= 9
    }

    /// Whether the record `message_id` stands behind the content.
    #[must_use]
    pub fn keeps_message_ids(self) -> bool {
        self.minor >= 9
    }

    /// Whether days in mail dates have two digits.
    #[must_use]
    pub fn pads_days_with_zero(self) -> bool {
        self.minor >= 9
    }

    /// Whether bounce reads that record, not the header.
    #[must_use]
    pub fn bounce_reads_message_id_records(self) -> bool {
        self.minor >= 10
    }

    /// Whether bounce leaves eight bits in a sender as they are.
    #[must_use]
    pub fn bounce_leaves_eight_bits(self) -> bool {
        self.minor >= 10
    }

    /// The options of a message that let bounce give an address the type `utf-8`: any, before the word had others than those of
    /// SMTPUTF8.
    #[must_use]
    pub fn options_of_utf8_addresses(self) -> i64 {
        if self.minor >= 10 { 0xf } else { -1 }
    }

    /// Whether smtpd ends a transcript that has grown long before each command, within transactions, too.
    #[must_use]
    pub fn ends_transcripts_early(self) -> bool {
        self.minor >= 11
    }

    /// Whether a notice is logged before it is written, and its failure then.
    #[must_use]
    pub fn tells_notices_early(self) -> bool {
        self.minor >= 11
    }

    /// Whether full names outside ASCII are encoded words in generated headers, and these headers are folded.
    #[must_use]
    pub fn encodes_full_names(self) -> bool {
        self.minor >= 10
    }

    /// Whether generated headers, From, Date and Message-Id, are written as others are: they have a limit, and what is not
    /// ASCII in them makes it a message with UTF-8 headers.
    #[must_use]
    pub fn limits_generated_headers(self) -> bool {
        self.minor >= 10
    }

    /// Whether only the very first line of content is looked at: neither a second `From ` line is marked, nor is anything
    /// put between a marked line and one that continues it.
    #[must_use]
    pub fn marks_one_line(self) -> bool {
        self.minor >= 11
    }

    /// Whether the header `TLS-Required: no` counts.
    #[must_use]
    pub fn knows_tls_required(self) -> bool {
        self.minor >= 10
    }

    /// Whether REQUIRETLS (RFC 8689) is known, and options that a submitter asks for stand in a size record.
    #[must_use]
    pub fn knows_requiretls(self) -> bool {
        self.minor >= 11
    }

    /// Whether pickup's warnings about the age of a message name its file.
    #[must_use]
    pub fn names_posted_files(self) -> bool {
        self.minor >= 10
    }

    /// Whether whoever opens a table of an unknown type is told of the package that may be missing.
    #[must_use]
    pub fn names_packages(self) -> bool {
        self.minor >= 10
    }

    /// Whether whoever opens a table of Berkeley DB's is told that it will go.
    #[must_use]
    pub fn warns_of_berkeley_db(self) -> bool {
        self.minor >= 11
    }

    /// Whether what is no command at all, an empty line or bad UTF-8, counts as an unknown one.
    #[must_use]
    pub fn counts_bad_commands(self) -> bool {
        self.minor >= 11
    }

    /// Whether input ends when too much of it had to be dropped: of a line, or of chunks that are of no use.
    #[must_use]
    pub fn ends_input(self) -> bool {
        self.minor >= 11
    }

    /// Whether a command that is too long is refused, not cut.
    #[must_use]
    pub fn refuses_long_commands(self) -> bool {
        self.minor >= 12
    }

    /// Whether the text of a list on the DNS is all strings of its record, not the first alone.
    #[must_use]
    pub fn joins_dns_texts(self) -> bool {
        self.minor >= 10
    }

    /// Whether `rbl_reply_maps` is asked for the domain, too, of a list that has a pattern of addresses.
    #[must_use]
    pub fn knows_replies_for_domains(self) -> bool {
        self.minor >= 10
    }

    /// What the log calls the EHLO keyword SMTPUTF8 where it is discarded.
    #[must_use]
    pub fn smtputf8_keyword(self) -> &'static str {
        if self.minor >= 11 { "SMTPUTF8" } else { "EHLO_MASK_SMTPUTF8" }
    }

    /// What stands between EHLO keywords in the log.
    #[must_use]
    pub fn keyword_separator(self) -> &'static str {
        if self.minor >= 11 { ", " } else { " " }
    }

    /// Whether policy requests have `tls_sni`.
    #[must_use]
    pub(crate) fn policy_tells_server_name(self) -> bool {
        self.minor >= 12
    }
}
