//! Parameters, typed.

use config::Config;
use mailbox::Locking;
use server::Fatal;

/// What a process goes by.
pub(crate) struct Settings {
    /// `virtual_mailbox_base`: begins with `/`, or is empty until [`Settings::require_base`].
    pub(crate) base: Vec<u8>,
    /// `virtual_minimum_uid`
    pub(crate) minimum_uid: i32,
    /// `virtual_mailbox_limit`
    pub(crate) file_limit: Option<u64>,
    /// `virtual_mailbox_lock`
    pub(crate) locking: Locking,
    /// `strict_mailbox_ownership`
    pub(crate) strict_ownership: bool,
    /// Whether ids must be numbers and paths must stay below the base (since 3.11: observed, 3.11.7).
    pub(crate) is_strict: bool,
}

impl Settings {
    /// Reads the parameters.
    pub(crate) fn new(config: &Config) -> Result<Self, Fatal> {
        // What is not there is told by `require_base`: a mistake that is met here would be one of an unused agent, too.
        let is_given = config.expand("$virtual_mailbox_base").is_ok_and(|base| !base.is_empty());
        let base = if is_given { config.bytes("virtual_mailbox_base")? } else { Vec::new() };
        let minimum_uid = config.integer("virtual_minimum_uid")?;
        let strict_ownership = config.boolean("strict_mailbox_ownership")?;
        let locking = Locking::new(config, "virtual_mailbox_lock").map_err(|error| error.to_string())?;
        if !base.is_empty() && !base.starts_with(b"/") {
            let base = maillog::shown(&base);
            return Err(Fatal::new(format!(
                "do not specify relative pathname: virtual_mailbox_base = {base}"
            )));
        }
        let file_limit = mailbox::file_limit(config, "virtual_mailbox_limit")?;
        let is_strict = config.globals().postfix_minor >= 11;
        Ok(Self { base, minimum_uid, file_limit, locking, strict_ownership, is_strict })
    }

    /// Without a base there is nowhere to deliver to. Most sites have none and the agent in master.cf all the same.
    pub(crate) fn require_base(&mut self, config: &Config) -> Result<(), Fatal> {
        self.base = config.bytes("virtual_mailbox_base")?;
        Ok(())
    }

    /// Whether mail for `virtual_mailbox_domains` comes to the service of this name, as far as main.cf says where it goes.
    pub(crate) fn is_used(config: &Config, service: &str) -> Result<bool, Fatal> {
        let has_domains = !config.text("virtual_mailbox_domains")?.trim().is_empty();
        let transport = config.text("virtual_transport")?;
        Ok(has_domains && transport.split(':').next() == Some(service))
    }
}
