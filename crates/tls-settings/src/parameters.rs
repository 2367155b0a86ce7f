//! The parameters of one prefix.

use config::{Config, Error};
use tls::client::Order;
use tls::{AskClients, CipherLists, KeyPair, Purpose, Settings, Wording};

use crate::{LogLevel, unhonoured};

/// Which protocols and ciphers there are, as some are only for where TLS is a must.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// The peer may do without TLS.
    Opportunistic,
    /// The peer must not do without TLS: the `_mandatory_` parameters.
    Mandatory,
}

/// The parameters `PREFIX_tls_*`.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'c> {
    config: &'c Config,
    prefix: &'static str,
}

impl<'c> Parameters<'c> {
    /// Those of a prefix, such as `smtpd`.
    #[must_use]
    pub fn new(config: &'c Config, prefix: &'static str) -> Self {
        Self { config, prefix }
    }

    /// The whole name of a parameter.
    pub(crate) fn name(&self, rest: &str) -> String {
        format!("{}_tls_{rest}", self.prefix)
    }

    /// `PREFIX_tls_chain_files`
    ///
    /// # Errors
    /// It cannot be read.
    pub fn chain_files(&self) -> Result<String, Error> {
        self.text("chain_files")
    }

    /// Whether they are those of who talks to servers.
    pub(crate) fn is_of_a_client(&self) -> bool {
        self.prefix != "smtpd"
    }

    pub(crate) fn text(&self, rest: &str) -> Result<String, Error> {
        self.config.text(&self.name(rest))
    }

    /// The parameter of the protocol list, and that of the cipher grade.
    pub(crate) fn in_force(&self, grade: Grade) -> (String, String) {
        match grade {
            Grade::Mandatory => (self.name("mandatory_protocols"), self.name("mandatory_ciphers")),
            Grade::Opportunistic => (self.name("protocols"), self.name("ciphers")),
        }
    }

    /// What is logged; words that are none are told in `warnings`.
    ///
    /// # Errors
    /// The parameter cannot be read.
    pub fn log_level(&self, warnings: &mut Vec<String>) -> Result<LogLevel, Error> {
        Ok(LogLevel::parse(&self.name("loglevel"), &self.text("loglevel")?, warnings))
    }

    /// The warnings about what will not be as it was asked for.
    ///
    /// # Errors
    /// A setting that must not be left out.
    pub fn unhonoured(&self, grade: Grade) -> Result<Vec<String>, Error> {
        unhonoured::settings(self, self.config, grade)
    }

    /// Keys, certificates, protocols and ciphers; `verify_depth` is what the prefix calls that limit.
    ///
    /// # Errors
    /// The first parameter that cannot be used.
    pub fn settings(&self, grade: Grade, ask: AskClients, verify_depth: &str) -> Result<Settings, Error> {
        let config = self.config;
        let (protocols, ciphers) = self.in_force(grade);
        let mut exclusions = vec![self.text("exclude_ciphers")?];
        if grade == Grade::Mandatory {
            exclusions.push(self.text("mandatory_exclude_ciphers")?);
        }
        if ask == AskClients::Yes {
            exclusions.push("aNULL".to_string());
        }
        let depth = config.integer(&self.name(verify_depth))?;
        // There are none without encryption; but a wrong value ends a program (observed, 3.10.3).
        config.text("tls_null_cipherlist")?;
        Ok(Settings {
            chain_files: self.chain_files()?,
            pairs: self.pairs()?,
            ca_file: self.text("CAfile")?,
            ca_path: self.text("CApath")?,
            append_default_ca: config.boolean("tls_append_default_CA")?,
            ask,
            verify_depth: usize::try_from(depth).unwrap_or(0),
            purpose: if config.boolean("tls_trust_server_ccerts")? {
                Purpose::ClientOrServer
            } else {
                Purpose::Client
            },
            digest: self.text("fingerprint_digest")?,
            protocols: config.text(&protocols)?,
            grade: config.text(&ciphers)?,
            lists: self.lists()?,
            exclusions,
            curves: config.text("tls_eecdh_auto_curves")?,
            server_order: config.boolean("tls_preempt_cipherlist")?,
            wording: self.wording(),
        })
    }

    /// What a client has for all servers: keys, certificates, authorities. Which protocols and ciphers it offers each
    /// server may have to itself.
    ///
    /// # Errors
    /// The first parameter that cannot be used.
    pub fn client_settings(&self) -> Result<tls::client::Settings, Error> {
        let config = self.config;
        let depth = config.integer(&self.name("scert_verifydepth"))?;
        Ok(tls::client::Settings {
            chain_files: self.chain_files()?,
            pairs: self.pairs()?,
            ca_file: self.text("CAfile")?,
            ca_path: self.text("CApath")?,
            append_default_ca: config.boolean("tls_append_default_CA")?,
            verify_depth: usize::try_from(depth).unwrap_or(0),
            digest: self.text("fingerprint_digest")?,
            lists: self.lists()?,
            curves: config.text("tls_eecdh_auto_curves")?,
            wording: self.wording(),
            order: if config.globals().postfix_minor >= 11 { Order::Issuers } else { Order::Name },
        })
    }

    fn lists(&self) -> Result<CipherLists, Error> {
        Ok(CipherLists {
            high: self.config.text("tls_high_cipherlist")?,
            medium: self.config.text("tls_medium_cipherlist")?,
            low: self.config.text("tls_low_cipherlist")?,
            export: self.config.text("tls_export_cipherlist")?,
        })
    }

    fn wording(&self) -> Wording {
        if self.config.globals().postfix_minor >= 10 { Wording::OfGroups } else { Wording::OfCurves }
    }

    /// The older parameters, those that are set, in the order in which they are loaded.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn pairs(&self) -> Result<Vec<KeyPair>, Error> {
        let mut pairs = Vec::new();
        for (what, certificates, key) in [
            ("RSA", "cert_file", "key_file"),
            ("DSA", "dcert_file", "dkey_file"),
            ("ECDSA", "eccert_file", "eckey_file"),
        ] {
            let certificates = self.text(certificates)?;
            if !certificates.is_empty() && !certificates.eq_ignore_ascii_case("none") {
                pairs.push(KeyPair { what, certificates, key: self.text(key)? });
            }
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use config::{Config, ConfigDir};
    use tls::AskClients;

    use super::{Grade, Parameters};
    use crate::LogLevel;

    #[test]
    fn each_prefix_has_its_own() {
        let folder = std::env::temp_dir().join(format!("tls-settings-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut text = "mail_owner = daemon\nsetgid_group = mail\ninet_interfaces = 127.0.0.1\n".to_owned();
        for prefix in ["smtpd", "smtp", "lmtp"] {
            text += &format!(
                "{prefix}_tls_CAfile = /{prefix}.pem\n{prefix}_tls_eccert_file = /{prefix}-ec.pem\n"
            );
            text += &format!(
                "{prefix}_tls_mandatory_ciphers = high\n{prefix}_tls_mandatory_exclude_ciphers = DES\n"
            );
            text += &format!("{prefix}_tls_loglevel = 1\n{prefix}_tls_dcert_file = /{prefix}-dsa.pem\n");
        }
        std::fs::write(folder.join("main.cf"), text).unwrap();
        for (prefix, depth) in
            [("smtpd", "ccert_verifydepth"), ("smtp", "scert_verifydepth"), ("lmtp", "scert_verifydepth")]
        {
            let config = Config::load(prefix, &ConfigDir::new(&folder), &[]).unwrap();
            let parameters = Parameters::new(&config, prefix);
            let settings = parameters.settings(Grade::Mandatory, AskClients::No, depth).unwrap();
            assert_eq!(settings.ca_file, format!("/{prefix}.pem"));
            let files = settings.pairs.iter().map(|pair| pair.certificates.clone());
            assert!(files.eq([format!("/{prefix}-dsa.pem"), format!("/{prefix}-ec.pem")]));
            assert_eq!((&settings.grade[..], &settings.exclusions[1][..]), ("high", "DES"));
            assert_eq!(
                parameters.settings(Grade::Opportunistic, AskClients::No, depth).unwrap().grade,
                "medium"
            );
            assert_eq!(parameters.log_level(&mut Vec::new()).unwrap(), LogLevel::SUMMARY);
            assert!(parameters.unhonoured(Grade::Mandatory).unwrap().is_empty());
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
