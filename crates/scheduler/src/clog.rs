//! What is said when one destination has most of the active queue (spec qmgr 26).

use std::time::Instant;

use crate::Scheduler;
use crate::model::DestinationId;

impl<R> Scheduler<R> {
    /// Called for each new entry of a destination.
    pub(crate) fn warn_of_clogging(&mut self, destination: DestinationId, now: Instant) {
        let active = self.limits.active;
        let of_destination = &self.destinations[destination];
        let entries = of_destination.todo + of_destination.busy as usize + 1;
        let lately = of_destination.clog_warned.is_some_and(|then| now < then + self.limits.clog_warn_time);
        if self.limits.clog_warn_time.is_zero() || entries <= active / 5 || lately {
            return;
        }
        let transport = &self.transports[of_destination.transport];
        let name = String::from_utf8_lossy(&transport.name).into_owned();
        let nexthop = String::from_utf8_lossy(&of_destination.nexthop).into_owned();
        log::warn!("mail for {nexthop} is using up {entries} of {active} active queue entries");
        if entries * 10 < active * 9 {
            log::warn!("this may slow down other mail deliveries");
        }
        let limit = transport.settings.concurrency_limit;
        if limit != 0 && limit <= of_destination.busy + 1 {
            log::warn!(
                "you may need to increase the main.cf {name}_destination_concurrency_limit from {limit}"
            );
        } else if of_destination.window.size as usize > entries {
            log::warn!("you may need to increase the main.cf qmgr_message_active_limit from {active}");
        } else if transport.destinations.len() > 1 {
            log::warn!("you may need a separate master.cf transport for {nexthop}");
        } else {
            log::warn!("you may need to reduce {name} connect and helo timeouts");
            log::warn!("so that Postfix quickly skips unavailable hosts");
            log::warn!("you may need to increase the main.cf minimal_backoff_time and maximal_backoff_time");
            log::warn!("so that Postfix wastes less time on undeliverable mail");
            log::warn!("you may need to increase the master.cf {name} process limit");
        }
        log::warn!("please avoid flushing the whole queue when you have");
        log::warn!("lots of deferred mail, that is bad for performance");
        log::warn!("to turn off these warnings specify: qmgr_clog_warn_time = 0");
        self.destinations[destination].clog_warned = Some(now);
    }
}
