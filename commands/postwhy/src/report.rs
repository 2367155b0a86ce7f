//! The steps as text for a person, or as one JSON object.

use std::fmt::Write;

use access::client::Client;
use access::examine::{Question, Stage};
use command::json::quoted;

use crate::service::Service;
use crate::steps::{Found, Step};

/// The stage behind those of the session.
pub(crate) const CLEANUP: &str = "CLEANUP";

/// All there is to tell.
#[derive(Debug)]
pub(crate) struct Report<'r> {
    /// The service of master.cf.
    pub service: &'r Service,
    /// The client.
    pub client: &'r Client,
    /// What it says.
    pub question: &'r Question,
    /// Relay restrictions run before recipient restrictions.
    pub(crate) relay_first: bool,
    /// Why the last stage may not be what the server says.
    pub(crate) doubt: Option<String>,
    /// The stages and their replies.
    pub stages: &'r [Stage],
    /// The service of master.cf that smtpd hands mail to, as far as it was got to.
    pub cleanup: Option<&'r Service>,
    /// What the client is told because of what that says.
    pub(crate) cleanup_refusal: Option<&'r [u8]>,
    /// What happened.
    pub steps: &'r [Step],
}

impl Report<'_> {
    /// For a person.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let shown =
            |bytes: Option<&Vec<u8>>| maillog::shown(bytes.map_or(&b""[..], Vec::as_slice)).to_string();
        line(
            &mut out,
            0,
            &format!("service    {}/{} ({})", self.service.name, self.service.kind, self.service.place),
        );
        line(&mut out, 0, &format!("client     {}", maillog::shown(&self.client.namaddr)));
        line(&mut out, 0, &format!("helo       {}", shown(self.question.helo.as_ref())));
        line(&mut out, 0, &format!("sender     <{}>", maillog::shown(&self.question.sender)));
        line(&mut out, 0, &format!("recipient  <{}>", maillog::shown(&self.question.recipient)));
        let mut lists = ListNames::new(self.relay_first);
        for step in self.steps {
            match step {
                Step::Stage(name) => {
                    lists = ListNames::new(self.relay_first);
                    self.end_of_stage_before(name, &mut out);
                    line(&mut out, 0, &format!("\n{name}"));
                    if let Some(service) = self.cleanup.filter(|_| *name == CLEANUP) {
                        line(&mut out, 1, &format!("{}/{} ({})", service.name, service.kind, service.place));
                    }
                }
                Step::List { class, name, is_empty } => {
                    let empty = if *is_empty { ": empty" } else { "" };
                    line(&mut out, 1, &format!("{} for {class} <{name}>{empty}", lists.next(class)));
                }
                step => step_line(&mut out, step),
            }
        }
        line(&mut out, 0, "");
        match self.refusal() {
            _ if self.doubt.is_some() => {
                let why = self.doubt.as_deref().unwrap_or_default();
                line(&mut out, 0, &format!("cannot tell: {why}"));
            }
            Some((stage, reply)) => {
                // HANGUP of an access table.
                let told = match reply {
                    [] => "the connection is closed without a reply".to_owned(),
                    reply => shown_lines(reply),
                };
                line(&mut out, 0, &format!("refused at {stage}: {told}"));
            }
            None => line(&mut out, 0, "accepted"),
        }
        out
    }

    fn end_of_stage_before(&self, name: &str, out: &mut String) {
        let before = self.stages.iter().take_while(|stage| stage.name != name).last();
        if before.is_some_and(|stage| stage.refusal.is_none()) {
            line(out, 1, "passed");
        }
    }

    fn refusal(&self) -> Option<(&'static str, &[u8])> {
        let at_stage = self.stages.iter().find_map(|stage| Some((stage.name, stage.refusal.as_deref()?)));
        at_stage.or(self.cleanup_refusal.map(|refusal| ("END-OF-MESSAGE", refusal)))
    }

    /// For a program.
    pub(crate) fn json(&self) -> String {
        let text = |bytes: Option<&Vec<u8>>| match bytes {
            Some(bytes) => quoted(&maillog::shown(bytes).to_string()),
            None => "null".to_string(),
        };
        let name = |bytes: &[u8]| quoted(&maillog::shown(bytes).to_string());
        let mut out = String::from("{");
        let _ = write!(
            out,
            "\"service\": {}, \"client_address\": {}, \"client_name\": {}, \"reverse_client_name\": {}, \
             \"helo\": {}, \"sender\": {}, \"recipient\": {}, \"steps\": [",
            quoted(&self.service.name),
            name(&self.client.address),
            name(&self.client.name),
            name(&self.client.reverse_name),
            text(self.question.helo.as_ref()),
            name(&self.question.sender),
            name(&self.question.recipient),
        );
        let mut lists = ListNames::new(self.relay_first);
        let steps: Vec<String> =
            self.steps.iter().map(|step| json_step(step, &mut lists, self.relay_first)).collect();
        out.push_str(&steps.join(", "));
        let (accepted, stage, reply) = match self.refusal() {
            _ if self.doubt.is_some() => ("null", "null".to_string(), "null".to_string()),
            Some((stage, reply)) => ("false", quoted(stage), quoted(&shown_lines(reply))),
            None => ("true", "null".to_string(), "null".to_string()),
        };
        let _ = writeln!(out, "], \"accepted\": {accepted}, \"stage\": {stage}, \"reply\": {reply}}}");
        out
    }
}

/// A reply that may have several lines.
fn shown_lines(reply: &[u8]) -> String {
    let lines: Vec<String> =
        reply.split(|&byte| byte == b'\n').map(|line| maillog::shown(line).to_string()).collect();
    lines.join("\n")
}

/// The names of the lists: two of them have the same reply class.
struct ListNames {
    relay_next: bool,
}

impl ListNames {
    fn new(relay_first: bool) -> Self {
        Self { relay_next: relay_first }
    }

    fn next(&mut self, class: &str) -> &'static str {
        match class {
            "Client host" => "smtpd_client_restrictions",
            "Helo command" => "smtpd_helo_restrictions",
            "Sender address" => "smtpd_sender_restrictions",
            "Data command" => "smtpd_data_restrictions",
            "End-of-data" => "smtpd_end_of_data_restrictions",
            "Etrn command" => "smtpd_etrn_restrictions",
            _ => {
                let relay = self.relay_next;
                self.relay_next = !relay;
                if relay { "smtpd_relay_restrictions" } else { "smtpd_recipient_restrictions" }
            }
        }
    }
}

fn line(out: &mut String, depth: usize, text: &str) {
    let _ = writeln!(out, "{:width$}{text}", "", width = depth * 2);
}

fn step_line(out: &mut String, step: &Step) {
    match step {
        Step::Restriction { depth, word, argument, warns } => {
            let argument = argument.as_ref().filter(|argument| *argument != word);
            let argument = argument.map(|argument| format!(" {argument}")).unwrap_or_default();
            let warns = if *warns { " (only warns)" } else { "" };
            line(out, 2 + depth, &format!("{word}{argument}{warns}"));
        }
        Step::Implicit(word) => line(out, 1, &format!("{word}, which smtpd_{word} = yes asks for")),
        Step::Lookup { table, key, line: rule, found } => {
            let found = match found {
                Found::Nothing => "not found".to_string(),
                Found::Value(value) => format!("\"{value}\""),
                Found::Failure => "FAILED".to_string(),
            };
            let rule = rule.map(|rule| format!(", line {rule}")).unwrap_or_default();
            line(out, 4, &format!("{table}{rule}: \"{key}\": {found}"));
        }
        Step::Answer { service, answer: Some(answer) } => line(out, 4, &format!("{service}: \"{answer}\"")),
        Step::Answer { service, answer: None } => {
            line(out, 4, &format!("{service}: not asked, or no answer"))
        }
        Step::Address { role, address } => line(out, 1, &format!("{role} <{address}>")),
        Step::Mapped { by, from, to } => line(out, 2, &format!("{by}: <{from}> = {}", bracketed(to))),
        Step::Delivered { address } => line(out, 2, &format!("to <{address}>")),
        Step::Counter { parameter, limit, counted } => {
            line(out, 1, &format!("{parameter} = {limit}: {counted} counted"));
        }
        Step::Milter { name, event, answer, text } => {
            let event = if event.is_empty() { String::new() } else { format!(": {event}") };
            let text = if text.is_empty() { String::new() } else { format!(": {text}") };
            line(out, 1, &format!("milter {name}{event}: {answer}{text}"));
        }
        Step::Check { part, text, action, argument } => {
            let argument = if argument.is_empty() { String::new() } else { format!(": {argument}") };
            line(out, 1, &format!("{part} \"{text}\""));
            line(out, 2, &format!("= {action}{argument}"));
        }
        Step::Flag { name, reply } => line(out, 4, &format!("{name}: {reply}")),
        Step::Log { action, text } => line(out, 4, &format!("{action}: {text}")),
        Step::Result { depth, result, .. } => line(out, 3 + depth, &format!("= {result}")),
        Step::Stage(_) | Step::List { .. } => {}
    }
}

fn bracketed(addresses: &[String]) -> String {
    addresses.iter().map(|address| format!("<{address}>")).collect::<Vec<_>>().join(", ")
}

fn json_step(step: &Step, lists: &mut ListNames, relay_first: bool) -> String {
    let option = |text: Option<&String>| text.map_or("null".to_string(), |text| quoted(text));
    match step {
        Step::Stage(name) => {
            *lists = ListNames::new(relay_first);
            format!("{{\"step\": \"stage\", \"name\": {}}}", quoted(name))
        }
        Step::List { class, name, .. } => format!(
            "{{\"step\": \"list\", \"parameter\": {}, \"class\": {}, \"subject\": {}}}",
            quoted(lists.next(class)),
            quoted(class),
            quoted(name)
        ),
        Step::Restriction { depth, word, argument, warns } => format!(
            "{{\"step\": \"restriction\", \"depth\": {depth}, \"name\": {}, \"argument\": {}, \"warn_if_reject\": {warns}}}",
            quoted(word),
            option(argument.as_ref())
        ),
        Step::Implicit(word) => format!("{{\"step\": \"implicit\", \"name\": {}}}", quoted(word)),
        Step::Lookup { table, key, line, found } => {
            let line = line.map(|line| format!(", \"line\": {line}")).unwrap_or_default();
            let (value, failed) = match found {
                Found::Nothing => ("null".to_string(), false),
                Found::Value(value) => (quoted(value), false),
                Found::Failure => ("null".to_string(), true),
            };
            format!(
                "{{\"step\": \"lookup\", \"table\": {}, \"key\": {}, \"value\": {value}, \"failed\": {failed}{line}}}",
                quoted(table),
                quoted(key)
            )
        }
        Step::Address { role, address } => {
            format!("{{\"step\": \"address\", \"role\": {}, \"address\": {}}}", quoted(role), quoted(address))
        }
        Step::Mapped { by, from, to } => format!(
            "{{\"step\": \"mapped\", \"by\": {}, \"from\": {}, \"to\": [{}]}}",
            quoted(by),
            quoted(from),
            to.iter().map(|address| quoted(address)).collect::<Vec<_>>().join(", ")
        ),
        Step::Delivered { address } => {
            format!("{{\"step\": \"recipient\", \"address\": {}}}", quoted(address))
        }
        Step::Counter { parameter, limit, counted } => format!(
            "{{\"step\": \"counter\", \"parameter\": {}, \"limit\": {limit}, \"counted\": {counted}}}",
            quoted(parameter)
        ),
        Step::Milter { name, event, answer, text } => format!(
            "{{\"step\": \"milter\", \"name\": {}, \"event\": {}, \"answer\": {}, \"text\": {}}}",
            quoted(name),
            quoted(event),
            quoted(answer),
            quoted(text)
        ),
        Step::Check { part, text, action, argument } => format!(
            "{{\"step\": \"check\", \"part\": {}, \"text\": {}, \"action\": {}, \"argument\": {}}}",
            quoted(part),
            quoted(text),
            quoted(action),
            quoted(argument)
        ),
        Step::Answer { service, answer } => format!(
            "{{\"step\": \"answer\", \"service\": {}, \"answer\": {}}}",
            quoted(service),
            option(answer.as_ref())
        ),
        Step::Flag { name, reply } => {
            format!("{{\"step\": \"flag\", \"name\": {}, \"reply\": {}}}", quoted(name), quoted(reply))
        }
        Step::Log { action, text } => {
            format!("{{\"step\": \"log\", \"action\": {}, \"text\": {}}}", quoted(action), quoted(text))
        }
        Step::Result { depth, word, result } => format!(
            "{{\"step\": \"result\", \"depth\": {depth}, \"name\": {}, \"result\": {}}}",
            quoted(word),
            quoted(result)
        ),
    }
}
