//! Where a mistake was written that a daemon only knows by its text.
//!
//! Errors in the value of a parameter carry file and line with them. A table that cannot be opened, or a restriction that
//! makes no sense, is told of by parts that have never seen main.cf: in Postfix's words, which name the parameter, or the
//! table or file. Who set that parameter, or whose value has that name in it, is the place.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use config::mastercf_arguments::settings;
use config::{Assignment, Config};
use master::preflight::Program;

use crate::complaint::place_in;

/// What the processes of a service see: `-o` settings of its entry, then main.cf.
pub(crate) struct Settings {
    all: Vec<Setting>,
    /// Where what cannot be found is: the entry itself.
    entry: String,
}

struct Setting {
    name: String,
    value: String,
    place: String,
}

impl Settings {
    /// For a service whose entry is at `entry` (`FILE, line N`).
    pub(crate) fn of(config: &Config, program: &Program, entry: &str) -> Self {
        let entry = format!("{entry}, service {}", program.service);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut all = Vec::new();
        for setting in settings(program.arguments.iter().map(Vec::as_slice)) {
            let setting = setting.unwrap_or_default();
            if let Ok(Assignment { name, value }) = Assignment::parse(setting) {
                let value = OsStr::from_bytes(value).to_string_lossy().into_owned();
                let value = config.expand(&value).unwrap_or(value);
                all.push(Setting { name: text(name), value, place: entry.clone() });
            }
        }
        let own = all.len();
        for (name, setting) in config.written() {
            let name = text(name);
            if all[..own].iter().any(|known| known.name == name) {
                continue;
            }
            let expanded = maillog::silently(|| config.custom(&name)).ok().flatten();
            let value = text(&expanded.unwrap_or_else(|| setting.value.clone()));
            all.push(Setting { name, value, place: setting.origin.to_string() });
        }
        Self { all, entry }
    }

    /// The text with file and line behind it.
    pub(crate) fn with_place(&self, text: &str) -> String {
        if let Some(text) = text.strip_suffix(" (-o option)") {
            return format!("{text} ({})", self.entry);
        }
        if place_in(text).is_some() {
            return text.to_owned();
        }
        let place = self.named_in(text).or_else(|| self.quoted_in(text)).or_else(|| self.mentioned_in(text));
        format!("{text} ({})", place.as_ref().unwrap_or(&self.entry))
    }

    /// Where the first parameter is set that the text names.
    fn named_in(&self, text: &str) -> Option<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named = words.filter_map(|word| self.all.iter().find(|setting| setting.name == word));
        // `in` and `file` may be names of the administrator's own.
        let mut named = named
            .filter(|setting| setting.name.contains('_') || config::table::find(&setting.name).is_some());
        named.next().map(|setting| setting.place.clone())
    }

    /// Where the value is set that the text has in quotes.
    fn quoted_in(&self, text: &str) -> Option<String> {
        let quoted = text.split('"').skip(1).step_by(2).find(|quoted| !quoted.is_empty())?;
        self.all.iter().find(|setting| setting.value == quoted).map(|setting| setting.place.clone())
    }

    /// Where values are that have the table or file in them that the text names.
    fn mentioned_in(&self, text: &str) -> Option<String> {
        let words = text.split([' ', '"', ',', '(', ')', '<', '>']);
        let names =
            words.map(|word| word.trim_end_matches([':', '.', ';'])).filter(|word| word.contains(['/', ':']));
        for name in names.filter(|name| name.len() > 1) {
            let source = [".db", ".lmdb", ".cdb"].iter().find_map(|ending| name.strip_suffix(ending));
            let has = |setting: &&Setting| {
                has_name(&setting.value, name)
                    || source.is_some_and(|source| has_name(&setting.value, source))
            };
            let mut places: Vec<&str> =
                self.all.iter().filter(has).map(|setting| setting.place.as_str()).collect();
            places.dedup();
            if !places.is_empty() {
                return Some(places.join("; "));
            }
        }
        None
    }
}

/// Whether a value has this table, file or address in it: itself, and not as the folder of another.
fn has_name(value: &str, name: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || "/._-".contains(c);
    value
        .match_indices(name)
        .any(|(at, _)| !value[..at].ends_with(goes_on) && !value[at + name.len()..].starts_with(goes_on))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let setting = |name: &str, value: &str, place: &str| Setting {
            name: name.to_owned(),
            value: value.to_owned(),
            place: place.to_owned(),
        };
        let settings = Settings {
            all: vec![
                setting("smtpd_client_restrictions", "check_client_access hash:/a/x", "/m, line 1"),
                setting("local_recipient_maps", "hash:/a/y, hash:/a/x", "/m, line 2"),
                setting("in", "hash:/a/z", "/m, line 3"),
                setting("mynetworks", "/b, /a", "/m, line 4"),
            ],
            entry: "/s, line 9, service x inet".to_owned(),
        };
        for (text, want) in [
            ("local_recipient_maps: bad", "/m, line 2"),
            ("open database /a/y.db: No such file or directory", "/m, line 2"),
            ("open database /a/x.db: No such file or directory", "/m, line 1; /m, line 2"),
            ("read file /a: Is a directory", "/m, line 4"),
            ("something in something", "/s, line 9, service x inet"),
            ("bad (-o option)", "/s, line 9, service x inet"),
        ] {
            let text_alone = text.trim_end_matches(" (-o option)");
            assert_eq!(settings.with_place(text), format!("{text_alone} ({want})"));
        }
        assert_eq!(settings.with_place("bad (/m, line 7)"), "bad (/m, line 7)");
    }
}
