//! master.cf: its entries as they are read, and the lines that show them (`-M`), their fields (`-F`) and settings (`-P`).
//!
//! Requests are patterns: `service/type`, `service/type/field`, `service/type/parameter`, where `*`
//! stands for anything and trailing parts may be missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;

use config::logical_lines::is_space;
use config::mastercf::{Field, RawEntry, Transport};
use config::mastercf_arguments::Argument;
use config::{Assignment, ConfigDir, LogicalLines, printable};
use thiserror::Error;

use crate::Stop;
use crate::display::{INDENT, LINE_LIMIT};
use crate::options::Layout;

/// Where the fields of a padded entry start.
const COLUMNS: [usize; 8] = [0, 11, 17, 25, 33, 41, 49, 57];

/// One entry.
#[derive(Debug, Clone)]
pub struct Service {
    /// The fields as written.
    pub entry: RawEntry,
    /// What follows the command's name, taken apart.
    arguments: Vec<Item>,
    /// The `-o` settings among them; the last of a name counts.
    pub settings: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What can follow a command's name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    /// Letters behind a `-`.
    Flags(Vec<u8>),
    /// An option and its value, which is `name=value` in nearly all cases.
    Setting(Vec<u8>, Vec<u8>),
    /// The first argument that is no option.
    First(Vec<u8>),
    /// An argument after that.
    Other(Vec<u8>),
}

impl Item {
    fn sets(&self, name: &[u8]) -> bool {
        match self {
            Self::Setting(option, text) if option == b"-o" => {
                Assignment::parse(text).is_ok_and(|setting| setting.name == name)
            }
            _ => false,
        }
    }
}

/// master.cf cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It cannot be opened; the text says so.
    #[error("{0}")]
    Open(String),
    /// An entry makes no sense.
    #[error("{0}")]
    Entry(String),
}

/// Reads `DIR/master.cf`.
///
/// # Errors
/// When it cannot be read, or an entry makes no sense.
pub fn read(directory: &ConfigDir) -> Result<Vec<Service>, ReadError> {
    let path = directory.master_cf().display().to_string();
    let open_error =
        |error: std::io::Error| ReadError::Open(format!("open {path}: {}", sys::error_text(&error)));
    let file = File::open(directory.master_cf()).map_err(open_error)?;
    let mut services = Vec::new();
    for line in LogicalLines::new(BufReader::new(file), path.clone()) {
        let line =
            line.map_err(|error| ReadError::Entry(format!("read {path}: {}", sys::error_text(&error))))?;
        let service = Service::parse(line.first, &line.text).map_err(|fault| match fault {
            Fault::FieldCount => {
                ReadError::Entry(format!("file {path}: line {}: bad field count", line.first))
            }
            Fault::Field(text) => ReadError::Entry(text),
        })?;
        services.push(service);
    }
    Ok(services)
}

/// Entries for one service, by name and type, have the settings of all of them, of which the last counts; those before
/// the first entry with settings have none (observed with 3.7.11).
#[must_use]
pub(crate) fn with_shared_settings(mut services: Vec<Service>) -> Vec<Service> {
    let mut all: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    let key = |service: &Service| (service.name().to_vec(), service.transport().to_vec());
    for service in &services {
        all.entry(key(service)).or_default().extend(service.settings.clone());
    }
    let mut begun = BTreeSet::new();
    for service in &mut services {
        let key = key(service);
        if !service.settings.is_empty() || begun.contains(&key) {
            service.settings.clone_from(&all[&key]);
            begun.insert(key);
        }
    }
    services
}

/// What is wrong with an entry.
#[derive(Debug)]
pub enum Fault {
    /// There are fewer than eight fields.
    FieldCount,
    /// A field has a value it cannot have; the text says which.
    Field(String),
}

impl Service {
    /// Takes an entry apart.
    ///
    /// # Errors
    /// When there are too few fields, or one is wrong.
    pub fn parse(line: usize, text: &[u8]) -> Result<Self, Fault> {
        let entry = RawEntry::parse_braced(line, text);
        if entry.fields.len() < Field::ALL.len() {
            return Err(Fault::FieldCount);
        }
        for field in Field::ALL {
            check_field(field, &entry.fields[field as usize], text).map_err(Fault::Field)?;
        }
        let (arguments, errors) = entry.arguments_and_errors();
        for error in errors {
            log::warn!("master.cf: {error}");
        }
        Ok(Self::new(entry, arguments))
    }

    /// From fields and arguments that are in order.
    pub fn new(entry: RawEntry, arguments: Vec<Argument>) -> Self {
        let arguments = items(arguments.into_iter());
        let mut settings = BTreeMap::new();
        for item in &arguments {
            if let Item::Setting(option, text) = item
                && option == b"-o"
                && let Ok(setting) = Assignment::parse(text)
            {
                settings.insert(setting.name.to_vec(), setting.value.to_vec());
            }
        }
        Self { entry, arguments, settings }
    }

    /// Sets a parameter: in the place where it is set now, else behind the last option.
    pub(crate) fn set_parameter(&mut self, name: &[u8], value: &[u8]) {
        let text = [name, b"=", value].concat();
        let mut is_set = false;
        for item in self.arguments.iter_mut().filter(|item| item.sets(name)) {
            *item = Item::Setting(b"-o".to_vec(), text.clone());
            is_set = true;
        }
        if !is_set {
            let is_option = |item: &Item| matches!(item, Item::Flags(_) | Item::Setting(..));
            let options = self.arguments.iter().take_while(|item| is_option(item)).count();
            self.arguments.insert(options, Item::Setting(b"-o".to_vec(), text));
        }
        self.settings.insert(name.to_vec(), value.to_vec());
    }

    /// Takes all settings of a parameter away.
    pub(crate) fn remove_parameter(&mut self, name: &[u8]) {
        self.arguments.retain(|item| !item.sets(name));
        self.settings.remove(name);
    }

    /// Whether it is for the same service.
    pub(crate) fn is_namesake(&self, other: &Service) -> bool {
        (self.name(), self.transport()) == (other.name(), other.transport())
    }

    /// Whether this very entry sets a parameter.
    pub(crate) fn sets(&self, name: &[u8]) -> bool {
        self.arguments.iter().any(|item| item.sets(name))
    }

    /// The first field.
    pub fn name(&self) -> &[u8] {
        &self.entry.fields[Field::Service as usize]
    }

    /// The second field.
    pub fn transport(&self) -> &[u8] {
        &self.entry.fields[Field::Type as usize]
    }

    /// The base name of the command.
    pub fn program(&self) -> String {
        let command = &self.entry.fields[Field::Command as usize];
        let base = command.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        String::from_utf8_lossy(base).into_owned()
    }

    /// The fields, each from its column on.
    fn padded(&self) -> Vec<u8> {
        let mut line = Vec::new();
        for (field, column) in self.entry.fields.iter().zip(COLUMNS) {
            if !line.is_empty() {
                line.push(b' ');
            }
            while line.len() < column {
                line.push(b' ');
            }
            line.extend_from_slice(field);
        }
        line
    }

    /// The arguments as they are shown; the flag says whether one has a line of its own.
    fn pieces(&self, values: &Values<'_>) -> Result<Vec<(Vec<u8>, bool)>, Stop> {
        let pieces = self.arguments.iter().map(|item| {
            Ok(match item {
                Item::Flags(text) => (text.clone(), false),
                Item::Setting(option, text) => {
                    let text = match Assignment::parse(text) {
                        Ok(Assignment { name, value }) => [name, b"=", &values(value)?].concat(),
                        Err(_) => values(text)?,
                    };
                    ([option, &b" "[..], &in_braces(&text)].concat(), true)
                }
                // Shown without braces, whatever is in it, as Postfix 3.7 does.
                Item::First(text) => (text.clone(), false),
                Item::Other(text) => (in_braces(text), false),
            })
        });
        pieces.collect()
    }

    /// A field, as `-F` shows it; the command's includes its arguments.
    pub(crate) fn field_line(
        &self,
        field: Field,
        layout: Layout,
        values: &Values<'_>,
    ) -> Result<Vec<u8>, Stop> {
        let mut line = Vec::new();
        let name = field.postconf_name().as_bytes();
        let name = [self.name(), b"/", self.transport(), b"/", name].concat();
        if layout.json {
            let mut value = self.entry.fields[field as usize].clone();
            if field == Field::Command {
                self.append_arguments(&mut value, false, values)?;
            }
            return Ok(command::json::pair(&name, &value));
        }
        if !layout.hide_name {
            line = name;
            if layout.hide_value {
                return Ok(line);
            }
            line.extend_from_slice(b" = ");
        }
        line.extend_from_slice(&self.entry.fields[field as usize]);
        if field == Field::Command {
            self.append_arguments(&mut line, layout.fold, values)?;
        }
        Ok(line)
    }

    /// The whole entry, as `-M` shows it.
    ///
    /// # Errors
    /// When a value cannot be expanded.
    pub fn line(&self, fold: bool, values: &Values<'_>) -> Result<Vec<u8>, Stop> {
        let mut line = self.padded();
        self.append_arguments(&mut line, fold, values)?;
        Ok(line)
    }

    /// The whole entry, as `-M` shows it with `-j`: a blank between two fields.
    pub(crate) fn json(&self, values: &Values<'_>) -> Result<Vec<u8>, Stop> {
        let mut line = self.entry.fields.join(&b' ');
        self.append_arguments(&mut line, false, values)?;
        Ok(command::json::pair(&[self.name(), b"/", self.transport()].concat(), &line))
    }

    /// Each `-o name=value` has a line of its own in a folded entry.
    fn append_arguments(&self, line: &mut Vec<u8>, fold: bool, values: &Values<'_>) -> Result<(), Stop> {
        let mut column = line.len();
        let mut after_setting = false;
        for (text, own_line) in self.pieces(values)? {
            // Braces that are put on do not count here, as in Postfix.
            let braces =
                if text.starts_with(b"{") && text.iter().any(|byte| is_space(*byte)) { 2 } else { 0 };
            let is_long = column + 1 + text.len() - braces >= LINE_LIMIT;
            if fold && (own_line || after_setting || is_long) {
                line.push(b'\n');
                line.extend_from_slice(INDENT);
                column = INDENT.len();
            } else {
                line.push(b' ');
                column += 1;
            }
            column += text.len();
            line.extend_from_slice(&text);
            after_setting = own_line;
        }
        Ok(())
    }
}

/// Makes the value that is shown of the one that is written.
pub type Values<'a> = dyn Fn(&[u8]) -> Result<Vec<u8>, Stop> + 'a;

/// Options end at the first argument that does not start with `-`, or at `--`. Letters before an `o`
/// stand for themselves; what follows the `o`, or else the next argument, is its value.
fn items(arguments: impl Iterator<Item = Argument>) -> Vec<Item> {
    let mut items = Vec::new();
    let mut arguments = arguments.peekable();
    let is_option = |argument: &Argument| argument.text.starts_with(b"-") && argument.text != b"--";
    while let Some(Argument { text, .. }) = arguments.next_if(is_option) {
        let letters = &text[1..];
        let Some(at) = letters.iter().position(|letter| *letter == b'o').or(letters.is_empty().then_some(0))
        else {
            items.push(Item::Flags(text));
            continue;
        };
        let (flags, option) = letters.split_at(at);
        let attached = option.get(1..).unwrap_or_default();
        let value = match attached {
            b"" => arguments.next().inspect(|value| report_malformed(option, value)).map(|value| value.text),
            _ => Some(attached.to_vec()),
        };
        if !flags.is_empty() {
            items.push(Item::Flags([b"-", flags].concat()));
        }
        let option = [b"-", &option[..option.len().min(1)]].concat();
        items.push(match value {
            Some(value) => Item::Setting(option, value),
            None => Item::Flags(option),
        });
    }
    items.extend(arguments.next().map(|argument| Item::First(argument.text)));
    items.extend(arguments.map(|argument| Item::Other(argument.text)));
    items
}

/// Without braces, a value that is not `name=value` is the daemon's affair.
fn report_malformed(option: &[u8], value: &Argument) {
    if let Err(why) = Assignment::parse(&value.text)
        && value.braced
        && option == b"o"
    {
        log::warn!("master.cf: {why}: \"{}\"", printable(&value.text));
    }
}

/// An empty argument is shown as nothing, as Postfix does.
fn in_braces(text: &[u8]) -> Vec<u8> {
    let needs_them = text.iter().any(|byte| is_space(*byte));
    if needs_them { [b"{", text, b"}"].concat() } else { text.to_vec() }
}

/// Says what is wrong with a field's value; `place` is the text that it stands in.
///
/// # Errors
/// When it is not one that the field can have.
pub(crate) fn check_field(field: Field, value: &[u8], place: &[u8]) -> Result<(), String> {
    if is_valid(field, value) {
        return Ok(());
    }
    let (name, value) = (field.postconf_name(), printable(value));
    // A blank stands for the end of a line, here only.
    let place: Vec<u8> = place.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }).collect();
    Err(format!("invalid {name} field \"{value}\" in \"{}\"", printable(&place)))
}

fn is_valid(field: Field, value: &[u8]) -> bool {
    let is_number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    match field {
        Field::Service | Field::Command => !value.is_empty(),
        Field::Type => Transport::find(value).is_some(),
        Field::Private | Field::Unprivileged | Field::Chroot => matches!(value, b"y" | b"n" | b"-"),
        // A question mark that stands alone is a wakeup time of zero (observed with 3.7.11).
        Field::Wakeup => {
            value == b"-" || value == b"?" || is_number(value.strip_suffix(b"?").unwrap_or(value))
        }
        Field::ProcessLimit => value == b"-" || is_number(value),
    }
}

/// The parts of a request, between slashes of any number; none of one that begins with a slash (observed with 3.7.11).
pub(crate) fn parts(text: &[u8]) -> Vec<&[u8]> {
    if text.starts_with(b"/") {
        return Vec::new();
    }
    text.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect()
}
