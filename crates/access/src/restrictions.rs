//! The restriction lists of the server, compiled once.

use std::sync::Arc;

use lookup::list::StringList;
use lookup::{Given, Opening, ResultFault, Tell};

use crate::action;
use crate::compile::{self, Place};
use crate::list::{Classes, List};
use crate::opening::OpenTables;
use crate::settings::AccessParams;
use crate::watch::LookupWatch;

/// The restriction lists, compiled.
#[derive(Debug)]
pub struct Restrictions {
    /// `smtpd_client_restrictions`
    pub client: List,
    /// `smtpd_helo_restrictions`
    pub helo: List,
    /// `smtpd_sender_restrictions`
    pub sender: List,
    /// `smtpd_relay_restrictions`
    pub relay: List,
    /// `smtpd_recipient_restrictions`
    pub recipient: List,
    /// `smtpd_data_restrictions`
    pub data: List,
    /// `smtpd_end_of_data_restrictions`
    pub end_of_data: List,
    /// `smtpd_etrn_restrictions`
    pub etrn: List,
    /// `smtpd_restriction_classes`
    pub classes: Classes,
    permit_log: StringList,
    opened: OpenTables,
    /// What is wrong in the lists: the parameter, and the words for the log.
    mistakes: Vec<(String, String)>,
    /// Results of access tables that nobody can obey, as far as somebody looks for them.
    result_faults: Vec<ResultFault>,
}

/// Where each list stands.
const PLACES: [(&str, &str); 8] = [
    ("smtpd_client_restrictions", "Client host"),
    ("smtpd_helo_restrictions", "Helo command"),
    ("smtpd_sender_restrictions", "Sender address"),
    ("smtpd_relay_restrictions", "Recipient address"),
    ("smtpd_recipient_restrictions", "Recipient address"),
    ("smtpd_etrn_restrictions", "Etrn command"),
    ("smtpd_data_restrictions", "Data command"),
    ("smtpd_end_of_data_restrictions", "End-of-data"),
];

impl Restrictions {
    /// Compiles every list; `watch` is told of each look-up in an access table.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub fn open(params: &AccessParams, watch: Option<LookupWatch>) -> Result<Self, String> {
        let mut opened = OpenTables::new(params.smtputf8_enable, params.policy.clone()).watched(watch);
        let mut mistakes = Vec::new();
        let texts = &params.restrictions;
        let lists = [
            &texts.client,
            &texts.helo,
            &texts.sender,
            &texts.relay,
            &texts.recipient,
            &texts.etrn,
            &texts.data,
            &texts.end_of_data,
        ];
        // Postfix opens what the lists name, then what the classes name; its warnings come in that order.
        let parameters = PLACES.iter().map(|(parameter, _)| *parameter).zip(lists);
        let class_parameters = texts.classes.iter().map(|(name, text)| (name.as_str(), text));
        let mut named: Vec<(&str, String)> = Vec::new();
        for (parameter, text) in parameters.chain(class_parameters) {
            let (done, faults) = lookup::gather(Tell::Log, || opened.open_all(text));
            done?;
            mistakes.extend(faults.iter().map(|fault| (parameter.to_string(), fault.told())));
            // A table belongs to the parameter that names it first.
            let is_known = |name: &str| named.iter().any(|(_, known)| known == name);
            let new: Vec<_> = opened
                .all()
                .into_iter()
                .filter(|table| !is_known(&table.name))
                .map(|table| table.name.clone())
                .collect();
            named.extend(new.into_iter().map(|table| (parameter, table)));
        }
        let mut classes: Classes =
            texts.classes.iter().map(|(name, _)| (name.clone(), Arc::default())).collect();
        for (name, text) in &texts.classes {
            let list = compile::list(text, &Place::Class, &classes, &mut opened);
            mistakes.extend(list.mistakes().map(|text| (name.clone(), text)));
            classes.insert(name.clone(), Arc::new(list));
        }
        for (name, _) in &texts.classes {
            if classes[name].contains_itself(name, &classes) {
                mistakes.push((name.clone(), format!("restriction class `{name}' contains itself")));
            }
        }
        let mut compiled = lists.into_iter().zip(&PLACES).map(|(text, (parameter, class))| {
            let list = compile::list(text, &Place::List(class), &classes, &mut opened);
            mistakes.extend(list.mistakes().map(|text| (parameter.to_string(), text)));
            list
        });
        let mut next = || compiled.next().unwrap_or_default();
        let (client, helo, sender, relay) = (next(), next(), next(), next());
        let (recipient, etrn, data, end_of_data) = (next(), next(), next(), next());
        drop(compiled);
        let mut result_faults = Vec::new();
        // A daemon finds out when a client meets them, as Postfix's does.
        if lookup::only_examines() {
            for (parameter, name) in &named {
                let judge = |given: &Given<'_>| action::fault(given, params.has_filter, &classes);
                let tables = opened.all().into_iter().filter(|table| table.name == *name);
                result_faults.extend(tables.flat_map(|table| table.result_faults(parameter, &judge)));
            }
        }
        let permit_log = StringList::open(
            "smtpd_log_access_permit_actions",
            params.log_access_permit_actions.as_bytes(),
            Opening::Survive,
        )
        .map_err(|error| error.to_string())?;
        Ok(Self {
            client,
            helo,
            sender,
            relay,
            recipient,
            data,
            end_of_data,
            etrn,
            classes,
            permit_log,
            opened,
            mistakes,
            result_faults,
        })
    }

    /// What is wrong in the lists, and stops nobody: a parameter, and the words for the log.
    pub fn mistakes(&self) -> impl Iterator<Item = (&str, String)> {
        self.mistakes.iter().map(|(parameter, text)| (parameter.as_str(), text.clone()))
    }

    /// Results of access tables that nobody can obey; none in a server, which finds out when it meets them.
    pub fn result_faults(&self) -> &[ResultFault] {
        &self.result_faults
    }

    /// Whether a working instance of a restriction keeps strangers from relaying.
    pub fn protects_relay(&self) -> bool {
        [&self.recipient, &self.relay].iter().any(|list| list.protects_relay(&self.classes))
    }

    /// Whether a permit of this name is to be logged.
    pub(crate) fn logs_permit(&self, word: &str) -> bool {
        !self.permit_log.is_empty()
            && self.permit_log.matches(word.as_bytes()).unwrap_or_else(|error| {
                log::warn!("{error}");
                false
            })
    }

    /// The name of a table whose file has changed.
    pub fn changed(&self) -> Option<&str> {
        self.opened.changed()
    }
}
