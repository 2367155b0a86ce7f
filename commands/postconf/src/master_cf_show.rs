//! Entries (`-M`), fields (`-F`) and settings (`-P`) of master.cf that are shown.

use config::mastercf::Field;
use config::printable;

use crate::catalog::{Catalog, Scope};
use crate::display;
use crate::master_cf::{Service, parts};
use crate::names::{READ_ONLY, is_listed};
use crate::options::{Layout, Mode, Options};
use crate::{Output, Stop};

/// Shows what the options ask for.
///
/// # Errors
/// When a request is malformed, or a value cannot be expanded.
pub(crate) fn show(output: &mut Output, catalog: &Catalog, options: &Options) -> Result<(), Stop> {
    let patterns = options.names.iter().map(|name| Pattern::parse(name, options.mode));
    let patterns = patterns.collect::<Result<Vec<_>, _>>()?;
    let mut matched = vec![false; patterns.len()];
    for (index, service) in catalog.services().iter().enumerate() {
        let values = |value: &[u8]| match options.expand {
            true => catalog.expand(value, Scope::Service(index)),
            false => Ok(value.to_vec()),
        };
        let mut wanted = |part: Option<&[u8]>| {
            let mut is_wanted = patterns.is_empty();
            for (pattern, matched) in patterns.iter().zip(&mut matched) {
                let is_match =
                    pattern.matches_service(service) && part.is_none_or(|part| pattern.matches(2, part));
                *matched |= is_match;
                is_wanted |= is_match;
            }
            is_wanted
        };
        match options.mode {
            Mode::MasterFields => {
                for field in Field::ALL {
                    if wanted(Some(field.postconf_name().as_bytes())) {
                        let line = service.field_line(field, options.layout, &values)?;
                        output.line(&line);
                    }
                }
            }
            Mode::MasterParameters => {
                for (name, value) in &service.settings {
                    if !is_listed(READ_ONLY, name) && wanted(Some(name)) {
                        show_part(output, options.layout, service, name, &values(value)?);
                    }
                }
            }
            _ => {
                if wanted(None) {
                    let line = match options.layout.json {
                        true => service.json(&values)?,
                        false => service.line(options.layout.fold, &values)?,
                    };
                    output.line(&line);
                }
            }
        }
    }
    for (pattern, matched) in patterns.iter().zip(matched) {
        if !matched {
            log::warn!("unmatched request: \"{}\"", printable(pattern.text));
        }
    }
    Ok(())
}

fn show_part(output: &mut Output, layout: Layout, service: &Service, name: &[u8], value: &[u8]) {
    let name = [service.name(), b"/", service.transport(), b"/", name].concat();
    display::setting(output, layout, &name, value);
}

/// A request for entries, fields or settings.
struct Pattern<'a> {
    text: &'a [u8],
    parts: Vec<&'a [u8]>,
}

impl<'a> Pattern<'a> {
    fn parse(text: &'a [u8], mode: Mode) -> Result<Self, Stop> {
        let (most, usage) = match mode {
            Mode::MasterEntries => (2, "-M option requires service_name[/type]"),
            Mode::MasterFields => (3, "-F option requires service_name[/type[/field]]"),
            _ => (3, "-P option requires service_name[/type[/parameter]]"),
        };
        let parts = parts(text);
        if parts.is_empty() || parts.len() > most {
            return Err(Stop::fatal(usage));
        }
        let field = parts.get(2).filter(|field| mode == Mode::MasterFields && **field != b"*");
        if let Some(field) = field
            && !Field::ALL.iter().any(|known| known.postconf_name().as_bytes() == *field)
        {
            return Err(Stop::fatal(format!("invalid service attribute name: \"{}\"", printable(field))));
        }
        Ok(Self { text, parts })
    }

    fn matches(&self, part: usize, text: &[u8]) -> bool {
        self.parts.get(part).is_none_or(|wanted| *wanted == b"*" || *wanted == text)
    }

    fn matches_service(&self, service: &Service) -> bool {
        self.matches(0, service.name()) && self.matches(1, service.transport())
    }
}
