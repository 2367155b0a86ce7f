//! What has been counted, as far as it is shown; and rates, which are the difference of two looks.

use std::collections::BTreeMap;

use metrics::{Family, Records};

/// One content filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) connections: u64,
    pub(crate) failures: u64,
    pub(crate) verdicts: u64,
    /// Time until verdicts, in microseconds.
    pub(crate) verdict_time: u64,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// By the names of [`RATES`].
    pub(crate) totals: BTreeMap<&'static str, u64>,
    pub(crate) filters: BTreeMap<String, Filter>,
}

/// What rates are shown of, in the order in which they are.
pub(crate) const RATES: [&str; 6] = ["sessions", "messages", "rejects", "sent", "deferred", "bounced"];

impl Figures {
    pub(crate) fn read(records: &Records) -> Self {
        let mut figures = Self { totals: RATES.iter().map(|name| (*name, 0)).collect(), ..Self::default() };
        for record in records.all() {
            let value = |number: usize| record.values.get(number).map_or("", String::as_str);
            let Some(family) = record.family() else { continue };
            let total = match family {
                Family::SmtpdSessions => "sessions",
                Family::SmtpdTransactions => "messages",
                Family::SmtpdActions if value(1) == "reject" => "rejects",
                Family::Deliveries if value(2) == "sent" => "sent",
                Family::Deliveries if value(2) == "deferred" => "deferred",
                Family::Deliveries if value(2) == "bounced" => "bounced",
                _ => "",
            };
            if let Some(total) = figures.totals.get_mut(total) {
                *total += record.number();
            }
            if !matches!(
                family,
                Family::SmtpdProxyConnections | Family::SmtpdProxyFailures | Family::SmtpdProxyVerdictTime
            ) {
                continue;
            }
            let filter = figures.filters.entry(value(1).to_owned()).or_default();
            match family {
                Family::SmtpdProxyConnections => filter.connections += record.number(),
                Family::SmtpdProxyFailures => filter.failures += record.number(),
                _ => {
                    let (count, time) = record.spans();
                    filter.verdicts += count;
                    filter.verdict_time += time;
                }
            }
        }
        figures
    }

    /// How often a second each of [`RATES`] happened since `before`.
    pub(crate) fn rates(&self, before: &Self, seconds: f64) -> Vec<(&'static str, f64)> {
        let total = |figures: &Self, name| figures.totals.get(name).copied().unwrap_or(0);
        let rate = |name| {
            // A new file begins at zero.
            let difference = total(self, name).saturating_sub(total(before, name));
            (name, f64::from(u32::try_from(difference).unwrap_or(u32::MAX)) / seconds.max(0.001))
        };
        RATES.iter().map(|name| rate(*name)).collect()
    }
}

impl Filter {
    /// How long a verdict takes, in seconds: those since `before`, or all there were when there was none since.
    pub(crate) fn mean(&self, before: &Self) -> Option<f64> {
        let since = (
            self.verdicts.saturating_sub(before.verdicts),
            self.verdict_time.saturating_sub(before.verdict_time),
        );
        let (count, time) = if since.0 > 0 { since } else { (self.verdicts, self.verdict_time) };
        let count = u32::try_from(count).ok().filter(|count| *count > 0)?;
        Some(std::time::Duration::from_micros(time).as_secs_f64() / f64::from(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let of = |sent| Figures { totals: [("sent", sent)].into(), ..Figures::default() };
        let rates = of(7).rates(&of(2), 2.0);
        assert_eq!((rates[0], rates[3]), (("sessions", 0.0), ("sent", 2.5)));
        assert_eq!(of(1).rates(&of(9), 0.0)[3].1, 0.0);
        let filter = |verdicts, verdict_time| Filter { verdicts, verdict_time, ..Filter::default() };
        assert_eq!(filter(3, 3_000_000).mean(&filter(1, 2_000_000)), Some(0.5));
        assert_eq!(filter(3, 3_000_000).mean(&filter(3, 3_000_000)), Some(1.0));
        assert_eq!(filter(0, 0).mean(&filter(0, 0)), None);
    }
}
