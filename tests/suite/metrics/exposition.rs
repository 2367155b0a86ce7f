//! A reader of OpenMetrics text that takes nothing for granted (the specification's version 1.0.0).

use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;

/// A text that was found good.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    /// Samples by name and labels.
    samples: BTreeMap<(String, Labels), f64>,
}

/// A family while its lines are read.
#[derive(Debug, Default)]
struct Family {
    name: String,
    kind: String,
    said: BTreeSet<String>,
    has_samples: bool,
}

impl Exposition {
    /// Reads a text.
    ///
    /// # Panics
    /// It is not as the specification says.
    pub(super) fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
        let mut found = Self::default();
        let mut families = BTreeSet::new();
        let mut family = Family::default();
        for line in body.lines() {
            assert!(!line.is_empty() && line.trim() == line, "{line:?}");
            let Some(comment) = line.strip_prefix("# ") else {
                family.has_samples = true;
                found.sample(line, &family);
                continue;
            };
            let (word, rest) = comment.split_once(' ').expect(line);
            let (name, value) = rest.split_once(' ').expect(line);
            if name != family.name {
                assert!(families.insert(name.to_owned()), "{name} comes twice");
                family = Family { name: name.to_owned(), ..Family::default() };
            }
            assert!(!family.has_samples, "{line:?} behind samples");
            assert!(family.said.insert(word.to_owned()), "{line:?} twice");
            match word {
                "TYPE" => family.kind = value.to_owned(),
                "UNIT" => assert!(name.ends_with(&format!("_{value}")), "{line:?}"),
                "HELP" => assert!(!value.contains('\\'), "{line:?}: an escape that is none"),
                _ => panic!("{line:?}"),
            }
        }
        found.check_histograms();
        found
    }

    fn sample(&mut self, line: &str, family: &Family) {
        let (name, rest) = line.split_at(line.find(['{', ' ']).expect(line));
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => read_labels(rest),
            None => (Labels::new(), rest),
        };
        let value = value.strip_prefix(' ').expect(line);
        let suffix = name.strip_prefix(&family.name).unwrap_or_else(|| panic!("{line:?} in {family:?}"));
        let allowed: &[&str] = match family.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_count", "_sum"],
            "info" => &["_info"],
            other => panic!("{other}: {line:?}"),
        };
        assert!(allowed.contains(&suffix), "{line:?}");
        assert_eq!(labels.contains_key("le"), suffix == "_bucket", "{line:?}");
        let number: f64 = value.parse().expect(line);
        assert!(number >= 0.0 && number.is_finite(), "{line:?}");
        let before = self.samples.insert((name.to_owned(), labels), number);
        assert_eq!(before, None, "{line:?} twice");
    }

    fn check_histograms(&self) {
        for ((name, labels), count) in &self.samples {
            let Some(base) = name.strip_suffix("_count") else { continue };
            let bucket = format!("{base}_bucket");
            let mut buckets: Vec<(f64, f64)> = Vec::new();
            for ((other, with), value) in &self.samples {
                let mut without = with.clone();
                if let Some(bound) = without.remove("le")
                    && *other == bucket
                    && without == *labels
                {
                    let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect(&bound) };
                    buckets.push((bound, *value));
                }
            }
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(buckets.is_sorted_by(|one, other| one.1 <= other.1), "{name} {labels:?}: {buckets:?}");
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, *count)), "{name} {labels:?}");
            assert!(self.samples.contains_key(&(format!("{base}_sum"), labels.clone())), "{name}");
        }
    }

    /// The sum of a counter's or gauge's samples that have these labels among theirs.
    pub(super) fn sum(&self, family: &str, wanted: &[(&str, &str)]) -> u64 {
        self.all(family)
            .filter(|(labels, _)| {
                wanted.iter().all(|(name, value)| labels.get(*name).map_or("", String::as_str) == *value)
            })
            .map(|(_, value)| value)
            .sum()
    }

    /// The sum of all samples.
    pub(super) fn total(&self, family: &str) -> u64 {
        self.sum(family, &[])
    }

    /// The samples of a counter or gauge, or how many are in a histogram.
    pub(super) fn all<'a>(&'a self, family: &'a str) -> impl Iterator<Item = (&'a Labels, u64)> {
        let is_of = move |name: &str| {
            name.strip_prefix(family).is_some_and(|suffix| ["", "_total", "_count"].contains(&suffix))
        };
        self.samples.iter().filter(move |((name, _), _)| is_of(name)).map(|((_, labels), value)| {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count, checked above"
            )]
            (labels, *value as u64)
        })
    }
}

/// `name="value",...} rest`
fn read_labels(text: &str) -> (Labels, &str) {
    let mut labels = Labels::new();
    let mut rest = text;
    loop {
        let (name, value) = rest.split_once("=\"").expect(text);
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{text}");
        let mut read = String::new();
        let mut characters = value.char_indices();
        let end = loop {
            match characters.next().expect(text) {
                (at, '"') => break at,
                (_, '\\') => match characters.next().expect(text).1 {
                    'n' => read.push('\n'),
                    other if ['\\', '"'].contains(&other) => read.push(other),
                    other => panic!("\\{other} in {text}"),
                },
                (_, other) => read.push(other),
            }
        };
        assert!(labels.insert(name.to_owned(), read).is_none(), "{name} twice in {text}");
        rest = &value[end + 1..];
        match rest.strip_prefix('}') {
            Some(rest) => return (labels, rest),
            None => rest = rest.strip_prefix(',').expect(text),
        }
    }
}
