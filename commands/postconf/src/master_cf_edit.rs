//! `-e`, `-X` and `-#` on master.cf: whole entries (`-M`), fields (`-F`), settings (`-P`).
//!
//! An entry that is changed is written anew, padded and folded; all others are copied as they are,
//! and so are comments and empty lines, also those inside an entry. A new entry (`-M`) takes the
//! place of the first one that it replaces, or comes last.

use config::list;
use config::logical_lines::{is_space, trim_start};
use config::mastercf::{Field, RawEntry};
use config::{Assignment, ConfigDir, printable};

use crate::Stop;
use crate::master_cf::{Fault, Service, check_field, parts};
use crate::options::{Edit, Mode};
use crate::rewrite_file::Rewrite;

/// What is to be done to entries that match.
enum Change {
    /// The entry that takes their place; the flag says that it has been written.
    Replace(Box<Service>, bool),
    /// The same as it was written.
    Set(Vec<u8>),
    Remove,
    Comment,
    SetField(Field, Vec<u8>),
    SetParameter(Vec<u8>, Vec<u8>),
    RemoveParameter(Vec<u8>),
}

struct Request<'a> {
    argument: &'a [u8],
    service: Vec<u8>,
    transport: Vec<u8>,
    change: Change,
    is_matched: bool,
}

/// Changes master.cf.
///
/// # Errors
/// When a request is malformed or the file cannot be changed.
pub(crate) fn edit(directory: &ConfigDir, mode: Mode, edit: Edit, arguments: &[Vec<u8>]) -> Result<(), Stop> {
    if arguments.is_empty() {
        return Err(Stop::fatal(match edit {
            Edit::Set => "-e requires name=value argument",
            Edit::Remove | Edit::Comment => "missing service argument",
        }));
    }
    let requests = arguments.iter().map(|argument| Request::parse(mode, edit, argument));
    let mut requests = requests.collect::<Result<Vec<_>, _>>()?;
    let mut file = Rewrite::open(&directory.master_cf())?;
    // A new entry is looked at when all requests have been, and the copy is begun.
    for request in &mut requests {
        if let Change::Set(entry) = &request.change {
            request.change = replacement(request.argument, entry)?;
        }
    }
    let mut block: Vec<Vec<u8>> = Vec::new();
    let mut number = 0;
    while let Some(line) = file.line()? {
        if starts_entry(&line) && !block.is_empty() {
            write_block(&mut file, number, &block, &mut requests)?;
            number += block.len();
            block.clear();
        }
        block.push(line);
    }
    write_block(&mut file, number, &block, &mut requests)?;
    for request in &requests {
        match &request.change {
            Change::Replace(entry, false) => write_entry(&mut file, entry)?,
            Change::SetField(..) | Change::SetParameter(..) | Change::RemoveParameter(_)
                if !request.is_matched =>
            {
                log::warn!("unmatched service_name/type: \"{}\"", printable(request.argument));
            }
            _ => {}
        }
    }
    file.finish()
}

fn starts_entry(line: &[u8]) -> bool {
    !is_space(line[0]) && line[0] != b'#'
}

fn is_text(line: &[u8]) -> bool {
    !matches!(trim_start(line).first(), None | Some(b'#'))
}

/// An entry and what stands between its lines and behind it; or what stands before the first entry.
fn write_block(
    file: &mut Rewrite,
    before: usize,
    block: &[Vec<u8>],
    requests: &mut [Request<'_>],
) -> Result<(), Stop> {
    let text = block.iter().filter(|line| is_text(line)).flatten().copied().collect::<Vec<u8>>();
    if !block.first().is_some_and(|line| starts_entry(line)) {
        return block.iter().try_for_each(|line| file.write(line));
    }
    if list::words(&block[0]).nth(1).is_none() {
        let place = format!("file {}: line {}", file.path().display(), before + 1);
        return Err(Stop::fatal(format!("{place}: specify service name and type on the same line")));
    }
    let outcome = apply(file, before + 1, &text, requests)?;
    for line in block {
        match outcome {
            _ if !is_text(line) => file.write(line)?,
            Outcome::Unchanged => file.write(line)?,
            Outcome::Commented => file.write(&[b"#", &line[..]].concat())?,
            Outcome::Gone | Outcome::Changed(_) => {}
        }
    }
    match outcome {
        Outcome::Changed(entry) => write_entry(file, &entry),
        _ => Ok(()),
    }
}

/// What becomes of an entry.
enum Outcome {
    Unchanged,
    Commented,
    Gone,
    Changed(Box<Service>),
}

/// Entries that nobody asked about need not make sense.
fn apply(
    file: &mut Rewrite,
    number: usize,
    text: &[u8],
    requests: &mut [Request<'_>],
) -> Result<Outcome, Stop> {
    let mut words = text.split(|byte| is_space(*byte)).filter(|word| !word.is_empty());
    let (name, transport) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut outcome = Outcome::Unchanged;
    for request in requests.iter_mut().filter(|request| request.matches(name, transport)) {
        request.is_matched = true;
        match &mut request.change {
            Change::Replace(replacement, written) => {
                if !*written {
                    write_entry(file, replacement)?;
                    *written = true;
                }
                return Ok(Outcome::Gone);
            }
            Change::Remove => return Ok(Outcome::Gone),
            Change::Comment => outcome = Outcome::Commented,
            change => {
                let mut entry = match outcome {
                    Outcome::Changed(entry) => entry,
                    _ => Box::new(parse_entry(number, text)?),
                };
                entry.change(change)?;
                outcome = Outcome::Changed(entry);
            }
        }
    }
    Ok(outcome)
}

fn parse_entry(number: usize, text: &[u8]) -> Result<Service, Stop> {
    Service::parse(number, text).map_err(|fault| match fault {
        Fault::FieldCount => Stop::fatal(format!("file master.cf: line {number}: bad field count")),
        Fault::Field(text) => Stop::fatal(text),
    })
}

fn write_entry(file: &mut Rewrite, entry: &Service) -> Result<(), Stop> {
    let mut line = entry.line(true, &|value| Ok(value.to_vec()))?;
    line.push(b'\n');
    file.write(&line)
}

impl<'a> Request<'a> {
    fn parse(mode: Mode, edit: Edit, argument: &'a [u8]) -> Result<Self, Stop> {
        if argument.contains(&b'\n') {
            return Err(Stop::fatal("-Me, -Fe, -Pe, -X, or -# accept no multi-line input"));
        }
        let text = trim_start(argument);
        if text.first() == Some(&b'#') {
            return Err(Stop::fatal("-Me, -Fe, -Pe, -X, or -# accept no comment input"));
        }
        let (pattern, value) = match edit {
            Edit::Set => {
                let Assignment { name, value } = Assignment::parse(text)
                    .map_err(|why| Stop::fatal(format!("{why}: \"{}\"", printable(text))))?;
                (name, value)
            }
            Edit::Remove | Edit::Comment if text.contains(&b'=') => {
                return Err(Stop::fatal("-X or -# requires names without value"));
            }
            Edit::Remove | Edit::Comment => (text, &b""[..]),
        };
        let (count, usage) = match mode {
            Mode::MasterEntries => (2, "-Me, -MX or -M# requires service_name/type"),
            Mode::MasterFields => (3, "-Fe or -FX requires service_name/type/field_name"),
            _ => (3, "-Pe or -PX requires service_name/type/parameter"),
        };
        let parts = parts(pattern);
        if parts.len() != count {
            return Err(Stop::fatal(usage));
        }
        let change = match (mode, edit) {
            (Mode::MasterEntries, Edit::Set) => Change::Set(value.to_vec()),
            (Mode::MasterEntries, Edit::Remove) => Change::Remove,
            (Mode::MasterEntries, Edit::Comment) => Change::Comment,
            (Mode::MasterFields, _) => field_change(parts[2], value)?,
            (_, edit) => parameter_change(parts[2], value, edit)?,
        };
        let (service, transport) = (parts[0].to_vec(), parts[1].to_vec());
        Ok(Self { argument, service, transport, change, is_matched: false })
    }

    /// A new entry also replaces the one that bears its name already.
    fn matches(&self, name: &[u8], transport: &[u8]) -> bool {
        let is_asked_for = (self.service == b"*" || self.service == name)
            && (self.transport == b"*" || self.transport == transport);
        let is_namesake = match &self.change {
            Change::Replace(new, _) => new.name() == name && new.transport() == transport,
            _ => false,
        };
        is_asked_for || is_namesake
    }
}

fn replacement(argument: &[u8], value: &[u8]) -> Result<Change, Stop> {
    let entry = Service::parse(0, value).map_err(|fault| match fault {
        Fault::FieldCount => Stop::fatal(format!("bad field count: \"{}\"", printable(argument))),
        Fault::Field(text) => Stop::fatal(text),
    })?;
    Ok(Change::Replace(Box::new(entry), false))
}

fn field_change(name: &[u8], value: &[u8]) -> Result<Change, Stop> {
    if name == b"*" {
        return Err(Stop::fatal("-Fe does not accept wild-card field name"));
    }
    let field = Field::ALL.into_iter().find(|field| field.postconf_name().as_bytes() == name);
    let Some(field) = field else {
        return Err(Stop::fatal(format!("invalid service attribute name: \"{}\"", printable(name))));
    };
    if field != Field::Command && value.iter().any(|byte| is_space(*byte)) {
        return Err(Stop::fatal("-Fe does not accept whitespace in non-command field"));
    }
    Ok(Change::SetField(field, value.to_vec()))
}

fn parameter_change(name: &[u8], value: &[u8], edit: Edit) -> Result<Change, Stop> {
    if name == b"*" {
        return Err(Stop::fatal("-Pe does not accept wild-card parameter name"));
    }
    if edit != Edit::Set {
        return Ok(Change::RemoveParameter(name.to_vec()));
    }
    if value.iter().any(|byte| is_space(*byte)) {
        return Err(Stop::fatal("-Pe does not accept whitespace in parameter value"));
    }
    Ok(Change::SetParameter(name.to_vec(), value.to_vec()))
}

impl Service {
    fn change(&mut self, change: &Change) -> Result<(), Stop> {
        match change {
            Change::SetField(field, value) => self.set_field(*field, value)?,
            Change::SetParameter(name, value) => self.set_parameter(name, value),
            Change::RemoveParameter(name) => self.remove_parameter(name),
            Change::Replace(..) | Change::Set(_) | Change::Remove | Change::Comment => {}
        }
        Ok(())
    }

    /// Puts another text in a field; the command's includes its arguments. What an entry cannot have is told only
    /// where there is one to get it.
    fn set_field(&mut self, field: Field, value: &[u8]) -> Result<(), Stop> {
        if field == Field::Command {
            if list::words(value).next().is_none() {
                return Err(Stop::fatal("invalid command field \"\""));
            }
            // Seven fields before it make a whole entry of a command line.
            let entry = RawEntry::parse(self.entry.line, &[&b"- - - - - - - "[..], value].concat());
            let (arguments, errors) = entry.arguments_and_errors();
            for error in errors {
                log::warn!("master.cf: {error}");
            }
            let mut fields = self.entry.fields.clone();
            fields[Field::Command as usize] = entry.fields[Field::Command as usize].clone();
            let entry = RawEntry { fields, ..entry };
            *self = Self::new(entry, arguments);
        } else {
            check_field(field, value, value).map_err(Stop::Fatal)?;
            self.entry.fields[field as usize] = value.to_vec();
        }
        Ok(())
    }
}
