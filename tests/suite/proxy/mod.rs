//! The before-queue filter: `smtpd_proxy_filter` with a scripted filter behind it.

use conformance::{Client, Instance, Plan, ScriptedFilter, Service, free_port};

mod dialogue;
mod failures;
mod lmtp;
mod own;

/// What the client hears whenever the fault is not its own.
const GENERIC: &str = "451 4.3.0 Error: queue file write error";
const GO_AHEAD: &str = "354 End data with <CR><LF>.<CR><LF>";
const CONTENT: &str = "Subject: hi\r\n\r\nbody\r\n.\r\n";

/// A filter, and an instance with a before-filter smtpd for each way to call it.
struct Stage {
    filter: ScriptedFilter,
    instance: Instance,
    /// The default: the filter is called at the first recipient.
    direct: u16,
    /// `smtpd_proxy_options = speed_adjust`.
    speed: u16,
    /// `smtpd_delay_open_until_valid_rcpt = no`.
    at_mail: u16,
    /// As the first two, with a time-out of two seconds.
    hasty: [u16; 2],
}

impl Stage {
    fn new(name: &str) -> Stage {
        Stage::with(name, |_| {})
    }

    fn with(name: &str, change: impl FnOnce(&mut Plan)) -> Stage {
        let filter = ScriptedFilter::start();
        let address = format!("127.0.0.1:{}", filter.port());
        let mut plan = Plan::new(name);
        plan.set("smtpd_authorized_xforward_hosts", "127.0.0.0/8");
        plan.set("smtpd_authorized_xclient_hosts", "127.0.0.0/8");
        *plan.smtpd() = plan.smtpd().clone().option("smtpd_proxy_filter", &address);
        let speed = ("smtpd_proxy_options", "speed_adjust");
        let hasty = ("smtpd_proxy_timeout", "2s");
        let mut add = |options: &[(&str, &str)]| {
            let port = free_port();
            let service = Service::new(format!("127.0.0.1:{port} inet n - n - - smtpd"));
            let service = service.option("smtpd_proxy_filter", &address);
            plan.service(options.iter().fold(service, |service, (name, value)| service.option(name, value)));
            port
        };
        let ports = [
            add(&[speed]),
            add(&[("smtpd_delay_open_until_valid_rcpt", "no")]),
            add(&[hasty]),
            add(&[hasty, speed]),
        ];
        change(&mut plan);
        Stage {
            filter,
            direct: plan.smtp_port(),
            speed: ports[0],
            at_mail: ports[1],
            hasty: [ports[2], ports[3]],
            instance: plan.start(),
        }
    }

    /// What the smtpds logged from the beginning of a session to its end, but for the lines that every session has;
    /// the filter's address is shown as FILTER.
    fn log_of(&self, session: impl FnOnce()) -> Vec<String> {
        let ended =
            |lines: &[String]| lines.iter().filter(|line| line.starts_with("disconnect from")).count();
        let before = self.instance.log_of("smtpd");
        session();
        let lines = self.instance.wait_for("end of the session", || {
            let lines = self.instance.log_of("smtpd");
            (ended(&lines) > ended(&before)).then_some(lines)
        });
        let address = format!("127.0.0.1:{}", self.filter.port());
        let always = ["connect from", "disconnect from", "lost connection after"];
        lines[before.len()..]
            .iter()
            .filter(|line| !always.iter().any(|start| line.starts_with(start)))
            .map(|line| line.replace(&address, "FILTER"))
            .collect()
    }
}

/// Sends a message with these recipients; returns every reply from MAIL to the last before QUIT, and whether the server
/// hung up by itself.
fn send(port: u16, recipients: &[&str]) -> (Vec<String>, bool) {
    let mut client = Client::connect(port);
    client.command("EHLO client.example.net");
    let mut commands = vec!["MAIL FROM:<alice@example.net>".to_owned()];
    commands.extend(recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>")));
    commands.push("DATA".to_owned());
    let mut replies = Vec::new();
    for command in commands {
        let reply = client.command(&command);
        if reply.code == 0 {
            return (replies, true);
        }
        replies.push(reply.text());
        if reply.code == 354 {
            client.send(CONTENT.as_bytes());
            replies.push(client.read_reply().text());
        }
    }
    let hung_up = client.command("QUIT").code == 0;
    (replies, hung_up)
}
