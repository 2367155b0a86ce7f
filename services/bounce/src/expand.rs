//! What stands for names in a template's body: parameters, and two times in a unit.

use std::borrow::Cow;
use std::cell::Cell;
use std::time::Duration;

use config::Config;
use config::expand::{Expander, Names};

use crate::template::Template;

/// The times, by the names of their parameters.
const TIMES: [&str; 2] = ["delay_warning_time", "maximal_queue_lifetime"];
const UNITS: [(&str, u64); 5] =
    [("seconds", 1), ("minutes", 60), ("hours", 3600), ("days", 86400), ("weeks", 604_800)];
/// A number above this is better told in a larger unit, as long as there is one that people count in.
const EXCESSIVE: u64 = 999;
const DAY: u64 = 86400;

/// The names for one line.
struct Scope<'a> {
    config: &'a Config,
    template: &'a Template,
    undefined: Cell<bool>,
}

/// A line of the body, expanded. What cannot be expanded is fatal.
pub(crate) fn line(config: &Config, template: &Template, line: &[u8]) -> Vec<u8> {
    if !line.contains(&b'$') {
        return line.to_vec();
    }
    let scope = Scope { config, template, undefined: Cell::new(false) };
    let (file, kind) = (&template.origin, template.kind.name());
    let text = String::from_utf8_lossy(line);
    let expanded = Expander::recursive(&scope).expand(line);
    if scope.undefined.get() {
        maillog::fatal(format_args!("{file}: undefined $name in {kind} template: {text}"));
    }
    expanded.unwrap_or_else(|faults| {
        faults.iter().for_each(|fault| log::warn!("{fault}"));
        maillog::fatal(format_args!("{file}: bad $name syntax in {kind} template: {text}"))
    })
}

impl Names for Scope<'_> {
    fn value(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        let value = self.defined(name);
        if value.is_none() {
            self.undefined.set(true);
        }
        value
    }

    fn holds(&self, name: &[u8]) -> bool {
        self.defined(name).is_some_and(|value| !value.is_empty())
    }
}

impl Scope<'_> {
    fn defined(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        let text = String::from_utf8_lossy(name);
        for time in TIMES {
            if let Some(unit) = text.strip_prefix(time).and_then(|rest| rest.strip_prefix('_')) {
                return Some(Cow::Owned(self.time(time, unit).to_string().into_bytes()));
            }
        }
        let value = self.config.value(name)?;
        Some(Cow::Owned(queue::printable(&value, self.config.globals().smtputf8_enable)))
    }

    fn time(&self, parameter: &str, unit: &str) -> u64 {
        let (file, kind) = (&self.template.origin, self.template.kind.name());
        let Some((_, seconds)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            maillog::fatal(format_args!(
                "{file}: unrecognized suffix \"{unit}\" in parameter \"{parameter}_{unit}\""
            ))
        };
        let span = self.config.time(parameter).unwrap_or(Duration::ZERO).as_secs();
        let number = span / seconds;
        let complaint = if number > EXCESSIVE && *seconds < DAY {
            Some((format!("excessive result \"{number}\""), "increase"))
        } else if number == 0 && span > 0 {
            Some(("zero result".to_owned(), "reduce"))
        } else {
            None
        };
        if let Some((what, change)) = complaint {
            log::warn!("{file}: {what} in {kind} template conversion of parameter \"{parameter}_{unit}\"");
            log::warn!("please {change} time unit \"{unit}\" of \"{parameter}_{unit}\" in {kind} template");
            log::warn!("for instructions see the bounce(5) manual");
        }
        number
    }
}
