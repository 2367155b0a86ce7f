//! Who is left of a request, and what became of the others (spec smtp-client 9).

use std::time::{Duration, SystemTime};

use delivery::{Action, Delivery, Relay, Status};
use ipc::delivery::{Completion, Moment, Recipient};
use metrics::Family;

use crate::details::{Failure, Progress};
use crate::settings::Settings;
use crate::tls::Standing;

/// The recipients of a request on their way from server to server.
#[derive(Debug)]
pub(crate) struct Tally<'a> {
    delivery: &'a Delivery<'a>,
    settings: &'a Settings,
    soft_bounce: bool,
    logs_tls: bool,
    /// What became of TLS with the last server that there was, as the log has it.
    tls: String,
    /// Those of whom nothing is decided.
    pub(crate) left: Vec<Recipient>,
    /// The last reason for which one is left.
    last: Option<Status>,
    is_deferred: bool,
    /// The destination that is tried, as it is written.
    destination: String,
    /// Its name where figures of it are wanted.
    measured: Option<&'a str>,
    /// A session has come to its end.
    pub(crate) has_completed: bool,
    /// The log says that lines are broken: once for all servers.
    pub(crate) told_of_long_lines: bool,
}

impl<'a> Tally<'a> {
    pub(crate) fn new(delivery: &'a Delivery<'a>, settings: &'a Settings) -> Self {
        Self {
            delivery,
            settings,
            destination: String::new(),
            measured: None,
            soft_bounce: settings.soft_bounce,
            logs_tls: settings.logs_tls,
            tls: String::new(),
            left: delivery.request().recipients.clone(),
            last: None,
            is_deferred: false,
            has_completed: false,
            told_of_long_lines: false,
        }
    }

    /// A destination is tried, whose host this is.
    pub(crate) fn try_destination(&mut self, written: &str, host: &str) {
        written.clone_into(&mut self.destination);
        let is_this = |name: &&String| [written, host].iter().any(|own| own.eq_ignore_ascii_case(name));
        self.measured = self.settings.measured.iter().find(is_this).map(String::as_str);
    }

    /// An attempt at a server of the destination failed, or there is none: `relay` is its name, or `none`.
    pub(crate) fn attempt_failed(&self, relay: &str, progress: &Progress, status: &Status) {
        let failure = Failure { destination: &self.destination, relay, progress, status };
        failure.count(self.measured);
        if self.settings.logs_details {
            failure.log(self.delivery.id());
        }
    }

    /// What became of a recipient at the destination.
    fn count(&self, relay: Relay<'_>, status: &Status) {
        let Some(destination) = self.measured else { return };
        let class = status.code().get(..1).unwrap_or_default();
        metrics::count(Family::DestinationDeliveries, &[destination, class]);
        if class == "2" {
            let (ready, now) = (relay.connected, Moment::from(SystemTime::now()));
            let span = (now.sec - ready.sec) * 1_000_000 + now.usec - ready.usec;
            let span = Duration::from_micros(u64::try_from(span).unwrap_or(0));
            metrics::observe(Family::DestinationDelay, &[destination], span);
        }
    }

    /// From now on recipients are told of with this.
    pub(crate) fn stand(&mut self, standing: &Standing) {
        if self.logs_tls {
            self.tls = standing.to_string();
        }
    }

    /// A recipient has got the message.
    pub(crate) fn sent(&mut self, recipient: &Recipient, relay: Relay<'_>, status: &Status, action: Action) {
        self.count(relay, status);
        let relay = Relay { tls: &self.tls, ..relay };
        let completion = self.delivery.sent_as(recipient, relay, status, action);
        self.is_deferred |= completion == Completion::Deferred;
    }

    /// A server was of no use: the next one is tried, and this is the reason if there is none.
    pub(crate) fn skip(&mut self, status: Status) {
        self.last = Some(status);
    }

    /// Nothing that was said before is a reason any more.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }

    /// A server does not take one recipient, who is given back if another server may.
    pub(crate) fn failed(
        &mut self,
        recipient: Recipient,
        relay: Relay<'_>,
        status: &Status,
        is_final: bool,
    ) -> Option<Recipient> {
        let may_go_on = status.code().starts_with('4') || self.soft_bounce;
        if may_go_on && !is_final {
            log::info!("{}: {}", self.delivery.id(), maillog::shown(&status.text));
            self.last = Some(status.clone());
            return Some(recipient);
        }
        self.end(&recipient, relay, status);
        None
    }

    /// A server takes none of those who are left.
    pub(crate) fn all_failed(&mut self, relay: Relay<'_>, status: &Status, is_final: bool) {
        let may_go_on = status.code().starts_with('4') || self.soft_bounce;
        self.passed_over(relay, status, is_final || !may_go_on);
    }

    /// A server lacks something that others may have, whatever the status.
    pub(crate) fn passed_over(&mut self, relay: Relay<'_>, status: &Status, is_final: bool) {
        if !is_final {
            log::info!("{}: {}", self.delivery.id(), maillog::shown(&status.text));
            self.last = Some(status.clone());
            return;
        }
        for recipient in std::mem::take(&mut self.left) {
            self.end(&recipient, relay, status);
        }
    }

    /// The same where that is the fault of the whole server: the queue manager hears of it if no other one was better.
    pub(crate) fn site_failed(&mut self, relay: Relay<'_>, status: &Status, is_final: bool) {
        let was_deferred = std::mem::take(&mut self.is_deferred);
        self.all_failed(relay, status, is_final);
        if self.is_deferred && !self.has_completed {
            self.delivery.destination_failed(status);
        }
        self.is_deferred |= was_deferred;
    }

    /// No server is left: what is told of those who are, with what `adjust` makes of the reason. Mail that is for this host
    /// goes to the transport for that, if there is one.
    pub(crate) fn finish(
        &mut self,
        own_transport: &str,
        adjust: impl FnOnce(Status) -> Status,
    ) -> Completion {
        if !self.left.is_empty() {
            let status = self
                .last
                .take()
                .map_or_else(|| Status::new("4.3.0", "server unavailable or unable to receive mail"), adjust);
            if status.code().ends_with(".4.6") && !own_transport.is_empty() {
                let sender = &self.delivery.request().sender;
                for recipient in std::mem::take(&mut self.left) {
                    let completion = self.delivery.pass(sender, &recipient, own_transport);
                    self.is_deferred |= completion == Completion::Deferred;
                }
            } else {
                self.site_failed("none".into(), &status, true);
            }
        }
        if self.is_deferred { Completion::Deferred } else { Completion::All }
    }

    fn end(&mut self, recipient: &Recipient, relay: Relay<'_>, status: &Status) {
        self.count(relay, status);
        let relay = Relay { tls: &self.tls, ..relay };
        let completion = self.delivery.failed(recipient, relay, status);
        self.is_deferred |= completion == Completion::Deferred;
    }
}
