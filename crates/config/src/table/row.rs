//! A row of the table as it is written down; [`super::packed`] makes a [`super::Parameter`] of it.

use super::{Kind, Later};

/// One row, which only the compiler sees.
#[derive(Debug)]
pub(super) struct Row {
    /// The name, as in main.cf.
    pub(super) name: &'static str,
    /// What its value is.
    pub(super) kind: Kind,
    /// The default as upstream Postfix 3.7 builds have it, before `$name` expansion; the 3.12
    /// default for a parameter that 3.7 does not have.
    pub(super) upstream_default: &'static str,
    /// The default in Debian's builds where it differs; Postern's installation follows it.
    pub(super) debian_default: Option<&'static str>,
    /// What later versions made of it.
    pub(super) later: Later,
    /// The defaults of later versions, each from a version 3.N on, oldest first (observed with 3.10.3 and 3.11.7; Debian's
    /// where they differ).
    pub(super) steps: &'static [(u32, &'static str)],
    /// The version 3.N that Postfix has it from; 0 when 3.7 has it.
    pub(super) from: u32,
    /// The version 3.N that Postfix does not have it in any more.
    pub(super) until: Option<u32>,
    /// Whether a program of Postern's obeys a parameter that 3.7 does not have.
    pub(super) is_obeyed: bool,
    /// The least accepted value (seconds for a time, bytes for a text); 0 is no bound.
    pub(super) min: i64,
    /// The greatest accepted value; 0 is no bound.
    pub(super) max: i64,
    pub(super) programs: &'static str,
    /// The first version that has it, where the documentation tells; `Postern` for our own.
    pub(super) since: &'static str,
}

impl Row {
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
}

macro_rules! constructors {
    ($($name:ident $kind:ident),* $(,)?) => {
        $(pub(super) const fn $name(name: &'static str, default: &'static str) -> Row {
            Row::new(name, Kind::$kind, default)
        })*
    };
}

constructors! {
    text Text, raw Raw, int Int, nint Nint, long Long, boolean Boolean, nbool Nbool, time Time,
}
