//! The service of master.cf whose settings count.

use std::fs::File;
use std::io::BufReader;

use config::logical_lines::LogicalLines;
use config::mastercf::{Field, RawEntry};
use config::mastercf_arguments::settings;
use config::{ConfigDir, Override};

/// A service that runs smtpd.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    /// First field.
    pub name: String,
    /// Second field.
    pub kind: String,
    /// `FILE: line N`
    pub place: String,
    /// Its `-o` options.
    pub overrides: Vec<Override>,
    /// Whether it changes its root directory; `None` is the default.
    pub chroot: Option<bool>,
    /// Whether it runs as `mail_owner`.
    pub unprivileged: bool,
    /// Its program.
    pub command: String,
}

impl Service {
    /// Finds the service that is `wanted` (`NAME` or `NAME/TYPE`), or the first that runs smtpd.
    ///
    /// # Errors
    /// The text of a fatal line: master.cf cannot be read, has no such service, or one that is no smtpd.
    pub(crate) fn find(directory: &ConfigDir, wanted: Option<&str>) -> Result<Self, String> {
        let found = |entry: &RawEntry| is_wanted(entry, wanted);
        let Some((entry, place)) = first(directory, found)? else {
            let shown = directory.master_cf().display().to_string();
            return Err(match wanted {
                Some(wanted) => format!("{shown}: no service {wanted}"),
                None => format!("{shown}: no service runs smtpd"),
            });
        };
        if !runs_smtpd(&entry) {
            let (name, command) = (field(&entry, Field::Service), field(&entry, Field::Command));
            return Err(format!("{place}: service {name} runs {command}, not smtpd"));
        }
        Self::of_entry(&entry, place)
    }

    /// Finds the service of this name that producers of mail reach as cleanup.
    ///
    /// # Errors
    /// The text of a fatal line: master.cf cannot be read, or has no such service.
    pub(crate) fn find_cleanup(directory: &ConfigDir, name: &str) -> Result<Self, String> {
        let found = |entry: &RawEntry| {
            field(entry, Field::Service) == name && field(entry, Field::Type).starts_with("unix")
        };
        match first(directory, found)? {
            Some((entry, place)) => Self::of_entry(&entry, place),
            None => Err(format!("{}: no service {name}/unix", directory.master_cf().display())),
        }
    }

    fn of_entry(entry: &RawEntry, place: String) -> Result<Self, String> {
        let arguments = entry.arguments().map_err(|error| format!("{place}: {error}"))?;
        let overrides = settings(arguments.iter().map(|argument| argument.text.as_slice()))
            .map(|setting| Override::parse(setting.unwrap_or_default()))
            .collect::<Result<_, _>>()
            .map_err(|error| format!("{place}: {error}"))?;
        Ok(Self {
            name: field(entry, Field::Service),
            kind: field(entry, Field::Type),
            place,
            overrides,
            chroot: match field(entry, Field::Chroot).as_str() {
                "y" => Some(true),
                "n" => Some(false),
                _ => None,
            },
            unprivileged: field(entry, Field::Unprivileged) != "n",
            command: field(entry, Field::Command),
        })
    }
}

/// The first entry of master.cf that is as wanted, and where it stands.
fn first(
    directory: &ConfigDir,
    is_wanted: impl Fn(&RawEntry) -> bool,
) -> Result<Option<(RawEntry, String)>, String> {
    let path = directory.master_cf();
    let shown = path.display().to_string();
    let file = File::open(&path).map_err(|error| format!("open {shown}: {}", sys::error_text(&error)))?;
    for line in LogicalLines::new(BufReader::new(file), shown.clone()) {
        let line = line.map_err(|error| format!("read {shown}: {}", sys::error_text(&error)))?;
        let entry = RawEntry::parse(line.first, &line.text);
        if is_wanted(&entry) {
            return Ok(Some((entry, format!("{shown}: line {}", line.first))));
        }
    }
    Ok(None)
}

fn is_wanted(entry: &RawEntry, wanted: Option<&str>) -> bool {
    match wanted {
        Some(wanted) => {
            let name = field(entry, Field::Service);
            wanted == name || wanted == format!("{name}/{}", field(entry, Field::Type))
        }
        None => runs_smtpd(entry),
    }
}

/// Beside a Postfix it may go by a name like smtpd.postern.
fn runs_smtpd(entry: &RawEntry) -> bool {
    let command = field(entry, Field::Command);
    command.rsplit('/').next().and_then(|name| name.split('.').next()) == Some("smtpd")
}

fn field(entry: &RawEntry, field: Field) -> String {
    String::from_utf8_lossy(entry.field(field).unwrap_or_default()).into_owned()
}
