//! OpenMetrics text, and the older format of Prometheus, which differs in a few words.

use std::fmt::{self, Write};

use crate::family::{BUCKETS, Family, Kind};
use crate::records::{Record, Records};

/// How the numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/openmetrics-text`, version 1.0.0.
    OpenMetrics,
    /// `text/plain`, version 0.0.4.
    Plain,
}

impl Format {
    /// The media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// What a counter's family is called.
    fn counter(self, name: &str) -> String {
        match self {
            Self::OpenMetrics => name.to_owned(),
            Self::Plain => format!("{name}_total"),
        }
    }
}

/// Writes all that has been counted; `version` is that of the program.
#[must_use]
pub fn write(records: &Records, format: Format, version: &str) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_all(records, format, version, &mut out);
    out
}

fn write_all(records: &Records, format: Format, version: &str, out: &mut String) -> fmt::Result {
    let (info, kind) = match format {
        Format::OpenMetrics => ("postern_build", "info"),
        Format::Plain => ("postern_build_info", "gauge"),
    };
    writeln!(out, "# TYPE {info} {kind}\n# HELP {info} The version of the metrics service.")?;
    writeln!(out, "postern_build_info{{version=\"{}\"}} 1", Escaped(version))?;
    writeln!(out, "# TYPE postern_counting_since_seconds gauge")?;
    writeln!(out, "# HELP postern_counting_since_seconds When the counters were made, since 1970.")?;
    writeln!(out, "postern_counting_since_seconds {}", records.made())?;
    let dropped = format.counter("postern_counting_dropped");
    writeln!(out, "# TYPE {dropped} counter\n# HELP {dropped} What found no room among the counters.")?;
    writeln!(out, "postern_counting_dropped_total {}", records.dropped())?;
    let mut last = None;
    for record in records.all() {
        let Some(family) = record.family() else { continue };
        if last != Some(family) {
            begin(family, format, out)?;
        }
        last = Some(family);
        samples(family, &record, out)?;
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    Ok(())
}

fn begin(family: Family, format: Format, out: &mut String) -> fmt::Result {
    let (name, kind) = match family.kind() {
        Kind::Counter => (format.counter(family.name()), "counter"),
        Kind::Gauge => (family.name().to_owned(), "gauge"),
        Kind::Histogram => (family.name().to_owned(), "histogram"),
    };
    writeln!(out, "# TYPE {name} {kind}")?;
    if format == Format::OpenMetrics && name.ends_with("_seconds") {
        writeln!(out, "# UNIT {name} seconds")?;
    }
    writeln!(out, "# HELP {name} {}", family.help())
}

fn samples(family: Family, record: &Record, out: &mut String) -> fmt::Result {
    let name = family.name();
    let labels = Labels { family, record };
    match family.kind() {
        Kind::Counter => writeln!(out, "{name}_total{{{labels}}} {}", record.number()),
        Kind::Gauge => writeln!(out, "{name}{{{labels}}} {}", record.number()),
        Kind::Histogram => {
            let mut count: u64 = 0;
            for ((_, bound), number) in BUCKETS.iter().zip(&record.numbers) {
                count = count.saturating_add(*number);
                writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}")?;
            }
            let sum = record.numbers.last().copied().unwrap_or(0);
            writeln!(out, "{name}_count{{{labels}}} {count}")?;
            writeln!(out, "{name}_sum{{{labels}}} {}.{:06}", sum / 1_000_000, sum % 1_000_000)
        }
    }
}

/// `name="value"` of each, with commas between.
struct Labels<'a> {
    family: Family,
    record: &'a Record,
}

impl fmt::Display for Labels<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = std::iter::once("service").chain(self.family.labels().iter().copied());
        // A label without a value is the same as none.
        let given = names.zip(&self.record.values).filter(|(_, value)| !value.is_empty());
        for (number, (name, value)) in given.enumerate() {
            let comma = if number > 0 { "," } else { "" };
            write!(out, "{comma}{name}=\"{}\"", Escaped(value))?;
        }
        Ok(())
    }
}

/// A label's value between its quotes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => out.write_str("\\\\")?,
                '"' => out.write_str("\\\"")?,
                '\n' => out.write_str("\\n")?,
                other => out.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    use super::*;
    use crate::records::WORDS;

    #[test]
    fn the_text() {
        let records = Records::new((0..WORDS).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak());
        records.add(Family::SmtpdProxyConnections, "smtp", &["a\"b\\c\nd"], 3);
        records.observe(Family::DeliveryDelay, "local", &["a"], Duration::from_millis(1500));
        let text = write(&records, Format::OpenMetrics, "1");
        for line in [
            "postern_build_info{version=\"1\"} 1",
            "# TYPE postern_smtpd_proxy_connections counter",
            "postern_smtpd_proxy_connections_total{service=\"smtp\",filter=\"a\\\"b\\\\c\\nd\"} 3",
            "# UNIT postern_delivery_delay_seconds seconds",
            "postern_delivery_delay_seconds_bucket{service=\"local\",step=\"a\",le=\"1.0\"} 0",
            "postern_delivery_delay_seconds_bucket{service=\"local\",step=\"a\",le=\"5.0\"} 1",
            "postern_delivery_delay_seconds_bucket{service=\"local\",step=\"a\",le=\"+Inf\"} 1",
            "postern_delivery_delay_seconds_sum{service=\"local\",step=\"a\"} 1.500000",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        let plain = write(&records, Format::Plain, "1");
        assert!(plain.contains("\n# TYPE postern_smtpd_proxy_connections_total counter\n"), "{plain}");
        assert!(!plain.contains("# EOF") && !plain.contains("# UNIT"), "{plain}");
    }
}
