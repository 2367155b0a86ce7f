//! What is wrong with a configuration and stops nobody, told before a client meets it: by the first process of a
//! service, and by `postfix check`.

use access::dnsbl::reply::Template;
use config::list::text_words;
use config::{Complaint, Config};

use crate::proxy::ProxyParams;
use crate::settings::params::SmtpdParams;
use crate::tables::Tables;

/// The fatal line of a server that lets strangers relay.
pub(crate) const OPEN_RELAY: &str = "in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at \
     least one working instance of: reject_unauth_destination, defer_unauth_destination, reject, defer, \
     defer_if_permit or check_relay_domains";

/// Mistakes in values that stop nobody.
pub(crate) fn mistakes(
    config: &Config,
    params: &SmtpdParams,
    proxy: Option<&ProxyParams>,
    tables: &Tables,
) -> Vec<Complaint> {
    let mut complaints: Vec<Complaint> =
        tables.mistakes().map(|(parameter, text)| Complaint::new(config, parameter, text)).collect();
    complaints.extend(tables.restrictions.result_faults().iter().map(|fault| fault.complaint(config)));
    if let Some(fault) = Template(&params.access.dns.default_rbl_reply).fault() {
        complaints.push(Complaint::new(config, "default_rbl_reply", fault));
    }
    if let Some(sasl) = &params.sasl {
        let fault = sasl.server_fault();
        // A daemon finds out when a client comes, as Postfix's does.
        let fault = fault.or_else(|| if lookup::only_examines() { sasl.silence(config) } else { None });
        let written = config.origin("smtpd_sasl_path").is_some();
        let parameter = if written { "smtpd_sasl_path" } else { "smtpd_sasl_auth_enable" };
        complaints.extend(fault.map(|fault| Complaint::new(config, parameter, fault)));
    }
    if lookup::only_examines() {
        let mistakes = params.milters.mistakes().into_iter();
        complaints.extend(mistakes.map(|(parameter, text)| Complaint::new(config, parameter, text)));
    }
    match proxy {
        Some(proxy) => {
            let faults =
                proxy.filters.faults().map(|fault| Complaint::new(config, "smtpd_proxy_filter", fault));
            complaints.extend(faults);
        }
        // Nobody reads them without a filter, in Postfix either.
        None => {
            let options = config.text("smtpd_proxy_options").unwrap_or_default();
            let unknown = text_words(&options).filter(|word| *word != "speed_adjust");
            complaints.extend(unknown.map(|word| {
                let text = format!("unknown smtpd_proxy_options value \"{word}\" in \"{options}\"");
                Complaint::new(config, "smtpd_proxy_options", text)
            }));
        }
    }
    complaints
}

/// A message of the permitted size may not find room.
pub(crate) fn short_of_space(params: &SmtpdParams) -> Option<String> {
    let (minfree, limit) = (params.access.queue_minfree, params.message_size_limit);
    let wanted = limit.saturating_mul(3) / 2;
    (minfree > 0 && limit > 0 && minfree < wanted)
        .then(|| format!("queue_minfree({minfree}) should be at least 1.5*message_size_limit({limit})"))
}
