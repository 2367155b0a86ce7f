//! The table as programs have it, made by the compiler: rows of numbers, sorted by name, and one text with all texts in it.

use super::parameter::{PackedLater, Parameter};
use super::row::Row;
use super::{Later, a_to_k, l_to_o, lmtp, own, p_to_r, s, shared, smtp, smtpd, t_to_z};

pub(super) const FILES: [&[Row]; 10] = [
    shared::ROWS,
    a_to_k::ROWS,
    lmtp::ROWS,
    l_to_o::ROWS,
    p_to_r::ROWS,
    s::ROWS,
    smtp::ROWS,
    smtpd::ROWS,
    t_to_z::ROWS,
    own::ROWS,
];

/// How many there are.
pub(super) const COUNT: usize = {
    let (mut count, mut file) = (0, 0);
    while file < FILES.len() {
        count += FILES[file].len();
        file += 1;
    }
    count
};

/// File and row of each parameter, sorted by name.
const SORTED: [(u8, u8); COUNT] = merged();

/// The files are sorted each (a test looks).
#[expect(
    clippy::cast_possible_truncation,
    reason = "const; the array bounds the first, the assertion the second"
)]
const fn merged() -> [(u8, u8); COUNT] {
    let mut sorted = [(0, 0); COUNT];
    let mut heads = [0; FILES.len()];
    let mut at = 0;
    while at < COUNT {
        let mut least = None;
        let mut file = 0;
        while file < FILES.len() {
            if heads[file] < FILES[file].len() {
                let is_less = match least {
                    None => true,
                    Some(other) => {
                        let other: usize = other;
                        is_before(FILES[file][heads[file]].name, FILES[other][heads[other]].name)
                    }
                };
                if is_less {
                    least = Some(file);
                }
            }
            file += 1;
        }
        if let Some(file) = least {
            assert!(heads[file] <= 0xff);
            sorted[at] = (file as u8, heads[file] as u8);
            heads[file] += 1;
        }
        at += 1;
    }
    sorted
}

const fn is_before(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() {
        if one[at] != other[at] {
            return one[at] < other[at];
        }
        at += 1;
    }
    one.len() < other.len()
}

/// A part of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    at: u32,
    length: u16,
}

impl Text {
    pub(super) fn get(self) -> &'static str {
        let at = self.at as usize;
        &TEXT[at..at + usize::from(self.length)]
    }
}

/// All parameters.
pub(super) static PARAMETERS: [Parameter; COUNT] = PACKED.parameters;

/// All defaults of later versions.
pub(super) static STEPS: [(u32, Text); STEP_COUNT] = PACKED.steps;

/// Places of the parameters that every program reads: each process begins with these.
#[expect(clippy::cast_possible_truncation, reason = "const; the assertion in `places` bounds it")]
pub(super) static SHARED: [u16; SHARED_COUNT] = {
    let (mut places, mut count, mut at) = ([0; SHARED_COUNT], 0, 0);
    while at < COUNT {
        if is_shared(row(at)) {
            places[count] = at as u16;
            count += 1;
        }
        at += 1;
    }
    places
};

const SHARED_COUNT: usize = {
    let (mut count, mut at) = (0, 0);
    while at < COUNT {
        count += is_shared(row(at)) as usize;
        at += 1;
    }
    count
};

const fn is_shared(row: &Row) -> bool {
    matches!(row.programs.as_bytes(), b"all")
}

static TEXT: &str = match str::from_utf8(&PACKED.text) {
    Ok(text) => text,
    Err(_) => panic!("texts come one after the other"),
};

const PACKED: Packed = Packed::of_rows();

pub(super) const fn row(at: usize) -> &'static Row {
    let (file, row) = SORTED[at];
    &FILES[file as usize][row as usize]
}

const STEP_COUNT: usize = {
    let (mut count, mut at) = (0, 0);
    while at < COUNT {
        count += row(at).steps.len();
        at += 1;
    }
    count
};

const LENGTH: usize = {
    let (mut length, mut at) = (0, 0);
    while at < COUNT {
        let row = row(at);
        length += row.name.len() + row.upstream_default.len() + row.programs.len() + row.since.len();
        if let Some(text) = row.debian_default {
            length += text.len();
        }
        if let Later::Default(text) = row.later {
            length += text.len();
        }
        let mut step = 0;
        while step < row.steps.len() {
            length += row.steps[step].1.len();
            step += 1;
        }
        at += 1;
    }
    length
};

struct Packed {
    parameters: [Parameter; COUNT],
    steps: [(u32, Text); STEP_COUNT],
    text: [u8; LENGTH],
    text_used: usize,
    steps_used: usize,
}

impl Packed {
    const fn of_rows() -> Self {
        const EMPTY: Text = Text { at: 0, length: 0 };
        const NONE: Parameter = Parameter {
            name: EMPTY,
            kind: super::Kind::Text,
            upstream_default: EMPTY,
            debian_default: None,
            later: PackedLater::Same,
            steps: (0, 0),
            from: 0,
            until: None,
            is_obeyed: false,
            min: 0,
            max: 0,
            programs: EMPTY,
            since: EMPTY,
        };
        let mut packed = Self {
            parameters: [NONE; COUNT],
            steps: [(0, EMPTY); STEP_COUNT],
            text: [0; LENGTH],
            text_used: 0,
            steps_used: 0,
        };
        let mut at = 0;
        while at < COUNT {
            packed.parameters[at] = packed.parameter(row(at));
            at += 1;
        }
        assert!(packed.text_used == LENGTH && packed.steps_used == STEP_COUNT);
        packed
    }

    const fn parameter(&mut self, row: &Row) -> Parameter {
        Parameter {
            name: self.add(row.name),
            kind: row.kind,
            upstream_default: self.add(row.upstream_default),
            debian_default: match row.debian_default {
                Some(text) => Some(self.add(text)),
                None => None,
            },
            later: match row.later {
                Later::Same => PackedLater::Same,
                Later::Default(text) => PackedLater::Default(self.add(text)),
                Later::Removed => PackedLater::Removed,
                Later::New => PackedLater::New,
            },
            steps: self.add_steps(row.steps),
            from: row.from,
            until: row.until,
            is_obeyed: row.is_obeyed,
            min: row.min,
            max: row.max,
            programs: self.add(row.programs),
            since: self.add(row.since),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "const; the assertion bounds them")]
    const fn add(&mut self, text: &str) -> Text {
        assert!(self.text_used <= u32::MAX as usize && text.len() <= u16::MAX as usize);
        let added = Text { at: self.text_used as u32, length: text.len() as u16 };
        let (_, free) = self.text.split_at_mut(self.text_used);
        free.split_at_mut(text.len()).0.copy_from_slice(text.as_bytes());
        self.text_used += text.len();
        added
    }

    #[expect(clippy::cast_possible_truncation, reason = "const; the assertion bounds them")]
    const fn add_steps(&mut self, steps: &[(u32, &str)]) -> (u16, u16) {
        assert!(STEP_COUNT <= u16::MAX as usize);
        let added = (self.steps_used as u16, steps.len() as u16);
        let mut step = 0;
        while step < steps.len() {
            self.steps[self.steps_used] = (steps[step].0, self.add(steps[step].1));
            self.steps_used += 1;
            step += 1;
        }
        added
    }
}
