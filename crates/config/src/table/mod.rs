//! Every parameter, declared once.
//!
//! One static row a parameter: the typed accessors, `$name` expansion and the postconf command all
//! read from here, and nowhere else is a default or a bound written down. The rows are grouped in
//! files by who reads them; `own` holds what Postern adds. A test compares all rows with a list
//! checked against a running Postfix (`tests/parameters.tsv`).

mod a_to_k;
mod l_to_o;
mod lmtp;
mod own;
mod p_to_r;
mod parameter;
mod s;
mod shared;
mod smtp;
mod smtpd;
mod t_to_z;

use std::collections::BTreeMap;
use std::sync::LazyLock;

pub use parameter::{Kind, Later, Parameter};

static TABLE: LazyLock<BTreeMap<&'static str, &'static Parameter>> = LazyLock::new(|| {
    let files = [
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
    files.into_iter().flatten().map(|row| (row.name, row)).collect()
});

/// The row of a parameter, if there is one.
pub fn find(name: &str) -> Option<&'static Parameter> {
    TABLE.get(name).copied()
}

/// All rows, sorted by name.
pub fn all() -> impl Iterator<Item = &'static Parameter> {
    TABLE.values().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list checked against a running Postfix is the authority on every row of ours.
    #[test]
    fn rows_agree_with_the_list() {
        let list = include_str!("../../tests/parameters.tsv");
        let mut listed = 0;
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
            assert_eq!(row.upstream_default, expected_default, "default of {name}");
            assert_eq!(row.later, expected_later, "3.12 default of {name}");
            let _unit = column();
            assert_eq!(row.min.to_string(), column(), "min of {name}");
            assert_eq!(row.max.to_string(), column(), "max of {name}");
            assert_eq!(row.programs().collect::<Vec<_>>().join(","), column(), "programs of {name}");
            assert_eq!(row.since, column(), "since of {name}");
            assert_eq!(row.debian_default.unwrap_or(""), column(), "Debian's {name}");
            listed += 1;
        }
        assert_eq!(listed + own::ROWS.len(), all().count());
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
