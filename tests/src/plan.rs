//! What an instance shall be: its main.cf, its master.cf, before it is started.

use std::path::PathBuf;
use std::sync::Arc;

use crate::dns_server::DnsServer;
use crate::instance::Instance;
use crate::port::free_port;
use crate::suite::Suite;

/// One entry of master.cf.
#[derive(Debug, Clone)]
pub struct Service {
    /// The eight fields, separated by blanks.
    pub fields: String,
    /// The arguments, each as it shall stand in the file: `-o name=value`, `-v` ...
    pub arguments: Vec<String>,
}

impl Service {
    /// An entry from its eight fields.
    pub fn new(fields: impl Into<String>) -> Service {
        Service { fields: fields.into(), arguments: Vec::new() }
    }

    /// Adds `-o { name = value }`.
    #[must_use]
    pub fn option(mut self, name: &str, value: &str) -> Service {
        self.arguments.push(format!("-o {{ {name} = {value} }}"));
        self
    }

    /// The name of the daemon it runs.
    pub fn command(&self) -> &str {
        self.fields.split_whitespace().nth(7).unwrap_or("")
    }

    fn line(&self) -> String {
        let mut line = self.fields.clone();
        for argument in &self.arguments {
            line.push_str("\n  ");
            line.push_str(argument);
        }
        line
    }
}

/// An instance to be: change it, then [`Plan::start`] it.
///
/// Out of the box it takes mail for `example.com` on [`Plan::smtp_port`] and leaves it in the incoming queue: the
/// services that take part in that run, a queue manager does not.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) name: String,
    pub(crate) suite: Suite,
    pub(crate) smtp_port: u16,
    debian_for_the_rest: bool,
    parameters: Vec<(String, String)>,
    services: Vec<Service>,
    pub(crate) raw_main_cf: String,
    pub(crate) raw_master_cf: String,
    pub(crate) dns: Option<Arc<DnsServer>>,
    /// Name servers that are asked before that one.
    pub(crate) first_dns: Option<Arc<DnsServer>>,
    pub(crate) resolv_conf: String,
}

/// The accounts of an instance that root starts: any that exist everywhere, are not the superuser's, and are three.
pub(crate) const MAIL_OWNER: &str = "uucp";
pub(crate) const SETGID_GROUP: &str = "news";

impl Plan {
    /// A plan for the suite under test; the name appears in the folder's name.
    pub fn new(name: &str) -> Plan {
        Plan::for_suite(name, Suite::under_test())
    }

    /// A plan for a given suite, for tests that compare two.
    pub fn for_suite(name: &str, suite: Suite) -> Plan {
        let smtp_port = free_port();
        let services = [
            format!("127.0.0.1:{smtp_port} inet n - n - - smtpd"),
            "cleanup unix n - n - 0 cleanup".into(),
            "rewrite unix - - n - - trivial-rewrite".into(),
            "anvil unix - - n - 1 anvil".into(),
            "showq unix n - n - - showq".into(),
            "pickup unix n - n 60 1 pickup".into(),
            "postlog unix-dgram n - n - 1 postlogd".into(),
        ];
        let mut plan = Plan {
            name: name.to_owned(),
            suite,
            smtp_port,
            debian_for_the_rest: false,
            parameters: Vec::new(),
            services: services.into_iter().map(Service::new).collect(),
            raw_main_cf: String::new(),
            raw_master_cf: String::new(),
            dns: None,
            first_dns: None,
            resolv_conf: String::new(),
        };
        for (parameter, value) in [
            ("compatibility_level", "3.6"),
            ("myhostname", "mx.example.com"),
            ("mydestination", "$myhostname, localhost, example.com"),
            ("mynetworks", "127.0.0.0/8"),
            ("inet_protocols", "ipv4"),
            ("alias_maps", ""),
            ("alias_database", ""),
            ("local_recipient_maps", ""),
            // No queue manager runs, so nobody makes the tokens that cleanup would wait for.
            ("in_flow_delay", "0"),
            // Postfix asks postconf-time defaults for tables that this instance does not have.
            ("maillog_file_prefixes", "/"),
        ] {
            plan.set(parameter, value);
        }
        if plan.suite.is_ours("smtpd") {
            plan.set_from_environment();
        }
        plan
    }

    /// A plan with nothing in it: for a whole configuration given as text, by [`Plan::main_cf`] and
    /// [`Plan::master_cf`]. Daemons that the suite under test does not have are Debian's.
    pub fn bare(name: &str) -> Plan {
        let mut plan = Plan::new(name);
        plan.parameters.clear();
        plan.services.clear();
        plan.debian_for_the_rest = true;
        plan.set("maillog_file_prefixes", "/");
        plan
    }

    /// `POSTERN_TEST_PARAMETERS`: `name=value` words for Postern's smtpd in every test, to run the whole suite with a
    /// feature that is off by default.
    fn set_from_environment(&mut self) {
        let words = std::env::var("POSTERN_TEST_PARAMETERS").unwrap_or_default();
        for word in words.split_whitespace() {
            let (name, value) = word.split_once('=').expect("POSTERN_TEST_PARAMETERS: name=value words");
            self.set(name, value);
        }
    }

    /// Lets Postern find out what is around, also where it is alone and is told the version under test otherwise.
    pub fn without_version(&mut self) -> &mut Plan {
        self.set("postern_postfix_version", "")
    }

    /// For tests of what only a process with one session does, whatever `POSTERN_TEST_PARAMETERS` says.
    pub fn one_session_a_process(&mut self) -> &mut Plan {
        self.parameters.retain(|(name, _)| name != "smtpd_sessions_per_process");
        self
    }

    /// The port of the first smtpd.
    pub fn smtp_port(&self) -> u16 {
        self.smtp_port
    }

    /// Sets a parameter in main.cf, replacing an earlier value.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Plan {
        self.parameters.retain(|(known, _)| known != name);
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an entry to master.cf.
    pub fn service(&mut self, service: Service) -> &mut Plan {
        self.services.push(service);
        self
    }

    /// Removes every entry of this service name (field 1).
    pub fn without(&mut self, name: &str) -> &mut Plan {
        self.services.retain(|service| service.fields.split_whitespace().next() != Some(name));
        self
    }

    /// The entry of the first smtpd, to change.
    ///
    /// # Panics
    /// When the plan has none.
    pub fn smtpd(&mut self) -> &mut Service {
        self.services.iter_mut().find(|service| service.command() == "smtpd").expect("the plan has an smtpd")
    }

    /// Adds text to main.cf as it is, right or wrong.
    pub fn main_cf(&mut self, text: &str) -> &mut Plan {
        self.raw_main_cf.push_str(text);
        self
    }

    /// Adds text to master.cf as it is, right or wrong.
    pub fn master_cf(&mut self, text: &str) -> &mut Plan {
        self.raw_master_cf.push_str(text);
        self
    }

    /// The queue manager and the delivery agents as well: Debian's, where the suite under test has none of its own.
    /// Only root can start such an instance.
    pub fn with_delivery(&mut self) -> &mut Plan {
        self.debian_for_the_rest = true;
        self.set("in_flow_delay", "1s");
        for fields in [
            "qmgr unix n - n 300 1 qmgr",
            "tlsmgr unix - - n 1000? 1 tlsmgr",
            "bounce unix - - n - 0 bounce",
            "defer unix - - n - 0 bounce",
            "trace unix - - n - 0 bounce",
            "flush unix n - n 1000? 0 flush",
            "smtp unix - - n - - smtp",
            "error unix - - n - - error",
            "retry unix - - n - - error",
            "discard unix - - n - - discard",
            "local unix - n n - - local",
            "virtual unix - n n - - virtual",
            "lmtp unix - - n - - lmtp",
            "scache unix - - n - 1 scache",
            "verify unix - - n - 1 verify",
            "proxymap unix - - n - - proxymap",
            "proxywrite unix - - n - 1 proxymap",
        ] {
            self.service(Service::new(fields));
        }
        self
    }

    /// Makes the first smtpd a before-filter server that passes mail to the filter on `filter_port`, and adds the
    /// after-filter server; returns the after-filter server's port.
    pub fn proxied(&mut self, filter_port: u16) -> u16 {
        let after = free_port();
        let before = self.smtpd().clone().option("smtpd_proxy_filter", &format!("127.0.0.1:{filter_port}"));
        *self.smtpd() = before;
        self.service(
            Service::new(format!("127.0.0.1:{after} inet n - n - - smtpd"))
                .option("smtpd_authorized_xforward_hosts", "127.0.0.0/8")
                .option("smtpd_client_restrictions", "")
                .option("smtpd_helo_restrictions", "")
                .option("smtpd_sender_restrictions", "")
                .option("smtpd_recipient_restrictions", "permit_mynetworks,reject")
                .option("smtpd_data_restrictions", "")
                .option("mynetworks", "127.0.0.0/8")
                .option("receive_override_options", "no_unknown_recipient_checks"),
        );
        after
    }

    /// Starts a name server with this zone (see [`DnsServer`]) that is the only one the instance knows.
    pub fn with_dns(&mut self, zone: &str) -> &mut Plan {
        self.dns = Some(Arc::new(DnsServer::start(zone)));
        self
    }

    /// Starts another name server, which is asked first.
    pub fn with_first_dns(&mut self, zone: &str) -> &mut Plan {
        self.first_dns = Some(Arc::new(DnsServer::start(zone)));
        self
    }

    /// Lines for the beginning of `resolv.conf`.
    pub fn resolv_conf(&mut self, text: &str) -> &mut Plan {
        self.resolv_conf.push_str(text);
        self
    }

    /// Writes the files and starts the instance.
    ///
    /// # Panics
    /// When master does not start; the message holds what it said and logged.
    pub fn start(&self) -> Instance {
        let instance = self.prepare();
        let outcome = instance.start_master(&["-w"]);
        assert!(outcome.status == Some(0), "master did not start: {outcome:?}\n{}", instance.log_text());
        instance
    }

    /// Writes the files and starts nothing.
    pub fn prepare(&self) -> Instance {
        Instance::lay_out(self)
    }

    pub(crate) fn main_cf_text(&self, fixed: &[(&str, String)]) -> String {
        let mut text = String::new();
        for (name, value) in fixed {
            if !self.parameters.iter().any(|(own, _)| own == name) {
                text.push_str(&format!("{name} = {value}\n"));
            }
        }
        for (name, value) in &self.parameters {
            text.push_str(&format!("{name} = {value}\n"));
        }
        text + &self.raw_main_cf
    }

    pub(crate) fn master_cf_text(&self) -> String {
        let mut text = String::new();
        for service in &self.services {
            text.push_str(&service.line());
            text.push('\n');
        }
        text + &self.raw_master_cf
    }

    /// Whether some program of the instance is Debian's.
    pub(crate) fn uses_debian(&self) -> bool {
        self.debian_for_the_rest || self.suite.needs_root()
    }

    /// The folder of symbolic links that is to be the instance's `daemon_directory`: every daemon there is.
    pub(crate) fn daemons(&self) -> Vec<(String, PathBuf)> {
        const NAMES: &[&str] = &[
            "anvil",
            "bounce",
            "cleanup",
            "discard",
            "dnsblog",
            "error",
            "flush",
            "lmtp",
            "local",
            "master",
            "metrics",
            "nbdb_reindexd",
            "oqmgr",
            "pickup",
            "pipe",
            // What Postfix's postfix command consists of.
            "post-install",
            "postfix-non-bdb-script",
            "postfix-script",
            "postlogd",
            "postscreen",
            "proxymap",
            "qmgr",
            "qmqpd",
            "scache",
            "showq",
            "smtp",
            "smtpd",
            "spawn",
            "tlsmgr",
            "tlsproxy",
            "trivial-rewrite",
            "verify",
            "virtual",
        ];
        let rest = |name: &str| self.debian_for_the_rest.then(|| Suite::Postfix.daemon(name)).flatten();
        let path = |name: &str| self.suite.daemon(name).or_else(|| rest(name));
        NAMES.iter().filter_map(|name| Some(((*name).to_owned(), path(name)?))).collect()
    }
}
