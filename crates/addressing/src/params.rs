//! The parameters of the chain.

use std::net::IpAddr;

use config::{Config, Error, list};
use lookup::Delimiter;

use crate::virtual_alias::Limits;

/// Where in a message an address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressClass {
    /// `envelope_sender`
    EnvelopeSender,
    /// `envelope_recipient`
    EnvelopeRecipient,
    /// `header_sender`
    HeaderSender,
    /// `header_recipient`
    HeaderRecipient,
}

impl AddressClass {
    const SENDER: &[(AddressClass, &'static str)] =
        &[(AddressClass::EnvelopeSender, "envelope_sender"), (AddressClass::HeaderSender, "header_sender")];
    const RECIPIENT: &[(AddressClass, &'static str)] = &[
        (AddressClass::EnvelopeRecipient, "envelope_recipient"),
        (AddressClass::HeaderRecipient, "header_recipient"),
    ];

    /// In the envelope, where addresses are in internal form.
    pub fn is_envelope(self) -> bool {
        matches!(self, AddressClass::EnvelopeSender | AddressClass::EnvelopeRecipient)
    }
}

/// Which addresses a parameter is about: `masquerade_classes`, `canonical_classes` and their kin.
#[derive(Clone, Debug, Default)]
pub(crate) struct AddressClasses(Vec<AddressClass>);

impl AddressClasses {
    /// The classes of the parameter `name`, each of them in one of the lists `known`. The complaint about a word that is
    /// none is about `complains`, which is not always this parameter (spec cleanup 5.3).
    fn new(
        config: &Config,
        name: &str,
        complains: &str,
        known: &[&[(AddressClass, &'static str)]],
    ) -> Result<Self, Error> {
        let find = |word: &str| {
            let mut known = known.iter().flat_map(|list| list.iter());
            known.find(|(_, known)| *known == word).map(|(class, _)| *class)
        };
        Ok(AddressClasses(config.known_words(name, complains, find)?))
    }

    /// Whether addresses of this class are meant.
    pub(crate) fn has(&self, class: AddressClass) -> bool {
        self.0.contains(&class)
    }
}

/// A parameter with tables, and which addresses they are for.
#[derive(Clone, Debug)]
pub(crate) struct CanonicalParams {
    /// The parameter.
    pub(crate) name: &'static str,
    /// Its value.
    pub(crate) maps: Vec<u8>,
    pub(crate) classes: AddressClasses,
}

impl CanonicalParams {
    fn new(
        config: &Config,
        name: &'static str,
        classes: &str,
        known: &[&[(AddressClass, &'static str)]],
    ) -> Result<Self, Error> {
        let classes = AddressClasses::new(config, classes, "canonical_classes", known)?;
        Ok(CanonicalParams { name, maps: config.bytes(name)?, classes })
    }
}

/// Settings; each field has the name of its parameter where it has one.
#[derive(Clone, Debug)]
pub struct MappingParams {
    pub(crate) canonical: CanonicalParams,
    pub(crate) sender_canonical: CanonicalParams,
    pub(crate) recipient_canonical: CanonicalParams,
    pub(crate) virtual_alias_maps: Vec<u8>,
    pub(crate) virtual_alias_limits: Limits,
    pub(crate) sender_bcc_maps: Vec<u8>,
    pub(crate) recipient_bcc_maps: Vec<u8>,
    pub(crate) masquerade_classes: AddressClasses,
    pub(crate) masquerade_domains: Vec<String>,
    pub(crate) masquerade_exceptions: Vec<u8>,
    /// `propagate_unmatched_extensions` has `canonical`.
    pub(crate) propagates_canonical: bool,
    /// It has `virtual`.
    pub(crate) propagates_virtual: bool,
    pub(crate) delimiter: Delimiter,
    pub(crate) mydestination: Vec<u8>,
    pub(crate) myorigin: Vec<u8>,
    /// `inet_interfaces` and `proxy_interfaces`
    pub(crate) own_addresses: Vec<IpAddr>,
    pub(crate) smtputf8_enable: bool,
}

impl MappingParams {
    /// Reads the settings.
    ///
    /// # Errors
    /// A value that Postfix refuses.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let globals = config.globals();
        let both = [AddressClass::SENDER, AddressClass::RECIPIENT];
        let canonical = CanonicalParams::new(config, "canonical_maps", "canonical_classes", &both)?;
        // Those of the other kind are unknown here (observed, 3.7.11).
        let sender_canonical = CanonicalParams::new(
            config,
            "sender_canonical_maps",
            "sender_canonical_classes",
            &[AddressClass::SENDER],
        )?;
        let recipient_canonical = CanonicalParams::new(
            config,
            "recipient_canonical_maps",
            "recipient_canonical_classes",
            &[AddressClass::RECIPIENT],
        )?;
        let own_addresses = globals.reached_addresses(config)?;
        let propagates = propagated(config)?;
        Ok(MappingParams {
            canonical,
            sender_canonical,
            recipient_canonical,
            masquerade_classes: AddressClasses::new(
                config,
                "masquerade_classes",
                "masquerade_classes",
                &both,
            )?,
            virtual_alias_maps: config.bytes("virtual_alias_maps")?,
            virtual_alias_limits: Limits {
                expansion: count(config.integer("virtual_alias_expansion_limit")?),
                recursion: count(config.integer("virtual_alias_recursion_limit")?),
                address_length: count(config.integer("virtual_alias_address_length_limit")?),
            },
            sender_bcc_maps: config.bytes("sender_bcc_maps")?,
            recipient_bcc_maps: config.bytes("recipient_bcc_maps")?,
            masquerade_domains: words(config, "masquerade_domains")?,
            masquerade_exceptions: config.bytes("masquerade_exceptions")?,
            propagates_canonical: propagates.contains(&"canonical"),
            propagates_virtual: propagates.contains(&"virtual"),
            delimiter: Delimiter::new(globals),
            mydestination: globals.mydestination.clone().into_bytes(),
            myorigin: globals.myorigin.clone().into_bytes(),
            own_addresses,
            smtputf8_enable: globals.smtputf8_enable,
        })
    }
}

/// `propagate_unmatched_extensions`
fn propagated(config: &Config) -> Result<Vec<&'static str>, Error> {
    const NAME: &str = "propagate_unmatched_extensions";
    const KNOWN: [&str; 6] = ["canonical", "virtual", "alias", "forward", "include", "generic"];
    config.known_words(NAME, NAME, |word| KNOWN.into_iter().find(|known| *known == word))
}

/// A limit; a negative one, which the parameter table does not let pass, would mean none at all.
fn count(value: i32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// The words of a parameter.
fn words(config: &Config, name: &str) -> Result<Vec<String>, Error> {
    let text = config.text(name)?;
    Ok(list::words(text.as_bytes()).map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}
