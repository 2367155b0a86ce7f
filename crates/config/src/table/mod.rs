//! Every parameter, declared once.
//!
//! One static row a parameter: the typed accessors, `$name` expansion and the postconf command all
//! read from here, and nowhere else is a default or a bound written down. The rows are grouped in
//! files by who reads them; `own` holds what Postern adds. A test compares all rows with a list
//! checked against a running Postfix (`docs/behaviour/parameters.tsv`).

mod a_to_k;
mod l_to_o;
mod lmtp;
mod own;
mod p_to_r;
mod packed;
mod parameter;
mod row;
mod s;
mod shared;
mod smtp;
mod smtpd;
mod t_to_z;

use packed::{COUNT, PARAMETERS};
pub use parameter::{Kind, Later, Parameter};

/// Where a name is to be looked for first, of so many places: a power of two, some of which stay empty.
const SLOTS: usize = (COUNT * 3).next_power_of_two();

/// A place in [`PARAMETERS`] behind each hash, or behind those that were taken before it; [`NO_PLACE`] ends the search.
static PLACES: [u16; SLOTS] = places();

const NO_PLACE: u16 = u16::MAX;

#[expect(clippy::cast_possible_truncation, reason = "const; the assertion bounds it")]
const fn places() -> [u16; SLOTS] {
    assert!(COUNT < NO_PLACE as usize);
    let mut places = [NO_PLACE; SLOTS];
    let mut at = 0;
    while at < COUNT {
        let mut slot = slot(packed::row(at).name);
        while places[slot] != NO_PLACE {
            slot = (slot + 1) % SLOTS;
        }
        places[slot] = at as u16;
        at += 1;
    }
    places
}

/// FNV-1a: every process looks for some two hundred names before it does anything else.
const fn slot(name: &str) -> usize {
    let (name, mut hash, mut at) = (name.as_bytes(), 0x811c_9dc5_u32, 0);
    while at < name.len() {
        hash = (hash ^ name[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    hash as usize % SLOTS
}

/// The row of a parameter, if there is one.
pub fn find(name: &str) -> Option<&'static Parameter> {
    let mut slot = slot(name);
    // Some places are empty.
    while let Some(row) = PARAMETERS.get(usize::from(PLACES[slot])) {
        if row.name() == name {
            return Some(row);
        }
        slot = (slot + 1) % SLOTS;
    }
    None
}

/// The rows that every program reads, sorted by name.
pub(crate) fn shared() -> impl Iterator<Item = &'static Parameter> {
    packed::SHARED.iter().map(|place| &PARAMETERS[usize::from(*place)])
}

/// All rows, sorted by name.
pub fn all() -> impl Iterator<Item = &'static Parameter> {
    PARAMETERS.iter()
}

#[cfg(test)]
mod tests {
    use super::packed::Text;
    use super::*;

    const BUILT_OTHERWISE: &[&str] = &[
        "alias_maps",
        "default_cache_db_type",
        "default_database_type",
        "mail_release_date",
        "meta_directory",
        "service_name",
        "tls_eecdh_auto_curves",
        "tls_ffdhe_auto_groups",
    ];

    /// The list checked against a running Postfix is the authority on every row of ours.
    #[test]
    fn rows_agree_with_the_list() {
        let list = include_str!("../../../../docs/behaviour/parameters.tsv");
        let mut listed = 0;
        let mut built_otherwise = Vec::new();
        for line in list.lines().skip(1) {
            let mut columns = line.split('\t').chain(std::iter::repeat(""));
            let mut column = || columns.next().unwrap_or("");
            let name = column();
            let row = find(name).unwrap_or_else(|| panic!("{name} is missing"));
            assert_eq!(kind_word(row.kind), column(), "kind of {name}");
            let (default, later) = (column(), column());
            let (expected_default, expected_later) = match (default, later) {
                ("-", "(empty)") => ("", Later::New),
                ("-", later) => (later, Later::New),
                (default, "") => (default, Later::Same),
                (default, "-") => (default, Later::Removed),
                (default, "(empty)") => (default, Later::Default("")),
                (default, later) => (default, Later::Default(later)),
            };
            assert_eq!(row.upstream_default.get(), expected_default, "default of {name}");
            assert_eq!(row.later(), expected_later, "3.12 default of {name}");
            let _unit = column();
            assert_eq!(row.min.to_string(), column(), "min of {name}");
            assert_eq!(row.max.to_string(), column(), "max of {name}");
            assert_eq!(row.programs().collect::<Vec<_>>().join(","), column(), "programs of {name}");
            assert_eq!(row.since(), column(), "since of {name}");
            assert_eq!(row.debian_default.map_or("", Text::get), column(), "Debian's {name}");
            for minor in [10, 11] {
                let expected = match column() {
                    "" => Some(row.default()),
                    "-" => None,
                    "(empty)" => Some(""),
                    default => Some(default),
                };
                let ours = row.is_in(minor).then(|| row.default_in(minor));
                assert_eq!(ours, expected, "{name} in Debian's 3.{minor}");
            }
            let ours = row.is_in(12).then(|| row.default_in(12).trim_end());
            let expected = match later {
                "" => Some(row.default()),
                "-" => None,
                "(empty)" => Some(""),
                later => Some(later.trim_end()),
            };
            if ours != expected {
                built_otherwise.push(name);
            }
            listed += 1;
        }
        assert_eq!(listed + own::ROWS.len(), all().count());
        // The 3.12 of the list is not Debian's build; what Postern has there is what Debian's 3.11 has.
        assert_eq!(built_otherwise, BUILT_OTHERWISE);
    }

    #[test]
    fn each_file_and_all_together_are_sorted() {
        for rows in packed::FILES {
            assert!(rows.is_sorted_by(|one, other| one.name < other.name));
        }
        assert!(all().is_sorted_by(|one, other| one.name() < other.name()));
    }

    #[test]
    fn names_are_found() {
        for row in all() {
            assert!(find(row.name()).is_some_and(|found| std::ptr::eq(found, row)), "{}", row.name());
        }
        for name in ["", "mydestinatio", "mydestinations", "x", "smtpd_banne\u{0}"] {
            assert!(find(name).is_none(), "{name}");
        }
    }

    #[test]
    fn what_every_program_reads() {
        assert!(shared().map(Parameter::name).eq(all().filter(|row| row.is_shared()).map(Parameter::name)));
    }

    fn kind_word(kind: Kind) -> &'static str {
        match kind {
            Kind::Text => "str",
            Kind::Raw => "raw",
            Kind::Int => "int",
            Kind::Nint => "nint",
            Kind::Long => "long",
            Kind::Boolean => "bool",
            Kind::Nbool => "nbool",
            Kind::Time => "time",
        }
    }

    #[test]
    fn smtp_and_lmtp_read_their_own_names() {
        let cases = [
            ("smtp_helo_name", "smtp", true),
            ("smtp_helo_name", "lmtp", false),
            ("lmtp_lhlo_name", "lmtp", true),
            ("lmtp_lhlo_name", "smtp", false),
            ("ipc_timeout", "anvil", true),
            ("smtpd_banner", "cleanup", false),
            ("smtpd_banner", "proxymap", true),
        ];
        for (name, program, expected) in cases {
            assert_eq!(find(name).unwrap().is_read_by(program), expected, "{name} in {program}");
        }
    }
}
