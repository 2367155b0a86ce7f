//! One row of the parameter table: what a parameter is called, what kind of value it takes, what
//! it is when nobody sets it, within which bounds, and which programs read it.

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

/// One row of the table.
#[derive(Debug)]
pub struct Parameter {
    /// The name, as in main.cf.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// The default as upstream Postfix 3.7 builds have it, before `$name` expansion; the 3.12
    /// default for a parameter that 3.7 does not have.
    pub(crate) upstream_default: &'static str,
    /// The default in Debian's builds where it differs; Postern's installation follows it.
    pub(crate) debian_default: Option<&'static str>,
    /// What later versions made of it.
    pub later: Later,
    /// The defaults of later versions, each from a version 3.N on, oldest first (observed with 3.10.3 and 3.11.7; Debian's
    /// where they differ).
    pub(super) steps: &'static [(u32, &'static str)],
    /// The version 3.N that Postfix has it from; 0 when 3.7 has it.
    from: u32,
    /// The version 3.N that Postfix does not have it in any more.
    until: Option<u32>,
    /// Whether a program of Postern's obeys a parameter that 3.7 does not have.
    is_obeyed: bool,
    /// The least accepted value (seconds for a time, bytes for a text); 0 is no bound.
    pub min: i64,
    /// The greatest accepted value; 0 is no bound.
    pub max: i64,
    programs: &'static str,
    /// The first version that has it, where the documentation tells; `Postern` for our own.
    pub since: &'static str,
}

impl Parameter {
    const fn new(name: &'static str, kind: Kind, upstream_default: &'static str) -> Self {
        Self {
            name,
            kind,
            upstream_default,
            debian_default: None,
            later: Later::Same,
            steps: &[],
            from: 0,
            until: None,
            is_obeyed: false,
            min: 0,
            max: 0,
            programs: "",
            since: "",
        }
    }

    pub(super) const fn later(mut self, minor: u32) -> Self {
        self.later = Later::New;
        self.from = minor;
        self
    }

    pub(super) const fn newer(mut self, default: &'static str) -> Self {
        self.later = Later::Default(default);
        self
    }

    pub(super) const fn steps(mut self, steps: &'static [(u32, &'static str)]) -> Self {
        self.steps = steps;
        self
    }

    pub(super) const fn obeyed(mut self) -> Self {
        self.is_obeyed = true;
        self
    }

    pub(super) const fn removed(mut self, minor: u32) -> Self {
        self.later = Later::Removed;
        self.until = Some(minor);
        self
    }

    pub(super) const fn debian(mut self, default: &'static str) -> Self {
        self.debian_default = Some(default);
        self
    }

    pub(super) const fn range(mut self, min: i64, max: i64) -> Self {
        self.min = min;
        self.max = max;
        self
    }

    pub(super) const fn by(mut self, programs: &'static str) -> Self {
        self.programs = programs;
        self
    }

    pub(super) const fn since(mut self, version: &'static str) -> Self {
        self.since = version;
        self
    }

    /// The default of this build beside 3.7, before `$name` expansion.
    pub fn default(&self) -> &'static str {
        self.debian_default.unwrap_or(self.upstream_default)
    }

    /// The default beside Postfix 3.`minor`.
    pub fn default_in(&self, minor: u32) -> &'static str {
        let step = self.steps.iter().rev().find(|(since, _)| *since <= minor);
        step.map_or_else(|| self.default(), |(_, default)| default)
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
        self.later != Later::New
    }

    /// The programs that read it; `all` alone for the shared ones.
    pub fn programs(&self) -> impl Iterator<Item = &'static str> {
        self.programs.split(',')
    }

    /// Whether every program reads it.
    pub(crate) fn is_shared(&self) -> bool {
        self.programs == "all"
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
            "smtp" if self.name.starts_with("lmtp_") => program == "lmtp",
            "smtp" if self.name.starts_with("smtp_") => program == "smtp",
            "smtp" => program == "smtp" || program == "lmtp",
            _ => listed == program,
        }
    }

    /// The unit of a time without a letter: the first letter of the default (after expansion).
    pub(crate) fn unit_in(default: &[u8]) -> u8 {
        default.iter().copied().find(u8::is_ascii_alphabetic).unwrap_or(b's')
    }
}

macro_rules! constructors {
    ($($name:ident $kind:ident),* $(,)?) => {
        $(pub(super) const fn $name(name: &'static str, default: &'static str) -> Parameter {
            Parameter::new(name, Kind::$kind, default)
        })*
    };
}

constructors! {
    text Text, raw Raw, int Int, nint Nint, long Long, boolean Boolean, nbool Nbool, time Time,
}
