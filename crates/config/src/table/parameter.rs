//! A parameter: what it is called, what kind of value it takes, what it is when nobody sets it, within which bounds, and
//! which programs read it.

use super::packed::{STEPS, Text};

/// How the text of a parameter is read; the names are Postfix's own words for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text; `$name` is expanded.
    Text,
    /// Text that the program expands itself, later and with names of its own.
    Raw,
    /// A 32-bit decimal number.
    Int,
    /// A 32-bit decimal number whose default is text to be expanded.
    Nint,
    /// A 64-bit decimal number.
    Long,
    /// `yes` or `no`.
    Boolean,
    /// `yes` or `no`, with a default that is text to be expanded.
    Nbool,
    /// A time span: a number and a unit.
    Time,
}

/// What later versions made of a parameter that 3.7 has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Later {
    /// The default is the same in 3.12.
    Same,
    /// The default in 3.12.
    Default(&'static str),
    /// 3.12 no longer has the parameter.
    Removed,
    /// 3.7 did not have the parameter yet.
    New,
}

/// One parameter. Its texts are places in one text, so that the dynamic linker has nothing to do for it: some four thousand
/// addresses would be a good part of the start of each process.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    pub(super) name: Text,
    /// What its value is.
    pub kind: Kind,
    pub(super) upstream_default: Text,
    pub(super) debian_default: Option<Text>,
    pub(super) later: PackedLater,
    /// Where in [`STEPS`] those of this parameter begin, and how many there are.
    pub(super) steps: (u16, u16),
    /// The version 3.N that Postfix has it from; 0 when 3.7 has it.
    pub(super) from: u32,
    /// The version 3.N that Postfix does not have it in any more.
    pub(super) until: Option<u32>,
    /// Whether a program of Postern's obeys a parameter that 3.7 does not have.
    pub(super) is_obeyed: bool,
    /// The least accepted value (seconds for a time, bytes for a text); 0 is no bound.
    pub min: i64,
    /// The greatest accepted value; 0 is no bound.
    pub max: i64,
    pub(super) programs: Text,
    pub(super) since: Text,
}

/// [`Later`], with a place for the text.
#[derive(Debug, Clone, Copy)]
pub(super) enum PackedLater {
    Same,
    Default(Text),
    Removed,
    New,
}

impl Parameter {
    /// The name, as in main.cf.
    pub fn name(&self) -> &'static str {
        self.name.get()
    }

    /// What later versions made of it.
    pub fn later(&self) -> Later {
        match self.later {
            PackedLater::Same => Later::Same,
            PackedLater::Default(text) => Later::Default(text.get()),
            PackedLater::Removed => Later::Removed,
            PackedLater::New => Later::New,
        }
    }

    /// The first version that has it, where the documentation tells; `Postern` for our own.
    pub fn since(&self) -> &'static str {
        self.since.get()
    }

    /// The default of this build beside 3.7, before `$name` expansion.
    pub fn default(&self) -> &'static str {
        self.debian_default.unwrap_or(self.upstream_default).get()
    }

    /// The default beside Postfix 3.`minor`.
    pub fn default_in(&self, minor: u32) -> &'static str {
        let (first, count) = (usize::from(self.steps.0), usize::from(self.steps.1));
        let step = STEPS[first..first + count].iter().rev().find(|(since, _)| *since <= minor);
        step.map_or_else(|| self.default(), |(_, default)| default.get())
    }

    /// Whether Postfix 3.`minor` has the parameter, for whichever program, or Postern adds it.
    pub fn is_in(&self, minor: u32) -> bool {
        self.from <= minor && self.until.is_none_or(|until| minor < until)
    }

    /// Whether a program of Postern's obeys it, though perhaps not beside every version.
    pub fn has_effect(&self) -> bool {
        self.is_current() || self.is_obeyed
    }

    /// Whether Postfix 3.7, whose behaviour Postern follows, has the parameter (or Postern adds it).
    pub fn is_current(&self) -> bool {
        !matches!(self.later, PackedLater::New)
    }

    /// The programs that read it; `all` alone for the shared ones.
    pub fn programs(&self) -> impl Iterator<Item = &'static str> {
        self.programs.get().split(',')
    }

    /// Whether every program reads it.
    pub(crate) fn is_shared(&self) -> bool {
        self.programs.get() == "all"
    }

    /// Whether `program` reads it, so that `$name` has a value there even when main.cf is silent.
    pub(crate) fn is_read_by(&self, program: &str) -> bool {
        // The proxymap service opens the tables of all other programs, under their names.
        self.is_shared()
            || matches!(program, "proxymap" | "postconf")
            || self.programs().any(|p| self.reads(p, program))
    }

    fn reads(&self, listed: &str, program: &str) -> bool {
        match listed {
            "all-daemons" => true,
            // One program under two names: as lmtp it reads lmtp_*, as smtp it reads smtp_*.
            "smtp" if self.name().starts_with("lmtp_") => program == "lmtp",
            "smtp" if self.name().starts_with("smtp_") => program == "smtp",
            "smtp" => program == "smtp" || program == "lmtp",
            _ => listed == program,
        }
    }

    /// The unit of a time without a letter: the first letter of the default (after expansion).
    pub(crate) fn unit_in(default: &[u8]) -> u8 {
        default.iter().copied().find(u8::is_ascii_alphabetic).unwrap_or(b's')
    }
}
