//! Mail filters: which there are for the client, and what they say when they are asked.
//!
//! They are real, and may do something: they are only asked when the caller wants it. Each is told what the server, and
//! for the content cleanup, would tell it, and is told at the end that the message is given up.

use std::cell::OnceCell;

use access::client::UNKNOWN;
use access::facts::Facts;
use access::milter_values::{Subject, Values};
use access::replies;
use access::settings::milters::MilterParams;
use config::Config;
use lookup::{Flags, KeyForm, Maps, Opening};
use milter::event::CHUNK;
use milter::settings::MilterSettings;
use milter::{Edit, Event, Family, Macros, Milter, Milters, Response};

use crate::content::Written;
use crate::steps::{Step, Steps, shown};

/// What stands for a queue ID.
const NO_QUEUE_ID: &str = "NOQUEUE";

/// The settings, and the table of `smtpd_milter_maps`.
#[derive(Debug)]
pub(crate) struct Filters {
    params: MilterParams,
    maps: Maps,
    /// None where the client's mail does not go to filters.
    no_milters: bool,
}

impl Filters {
    /// Opens the table.
    ///
    /// # Errors
    /// The text of a fatal line.
    pub(crate) fn open(config: &Config, no_milters: bool) -> Result<Self, String> {
        let params = MilterParams::new(config).map_err(|error| error.to_string())?;
        let maps = Maps::open("smtpd_milter_maps", params.maps.as_bytes(), Flags::LOCK, Opening::Survive)
            .map_err(|error| error.to_string())?;
        Ok(Self { params, maps, no_milters })
    }

    /// The filters of a client at this address.
    ///
    /// # Errors
    /// The text of a fatal line: what the table says is no list of filters.
    pub(crate) fn of_client(&self, address: &[u8]) -> Result<Vec<MilterSettings>, String> {
        if self.no_milters {
            return Ok(Vec::new());
        }
        let found = self.maps.find(address, KeyForm::Full).unwrap_or_default();
        self.params.of_client(found.as_deref())
    }

    /// Conversations with these, which begin at the first event.
    pub(crate) fn ask(self, list: &[MilterSettings], steps: Steps) -> Asking {
        let milters = Milters::new(list, &self.params.common);
        Asking { params: self.params, milters, steps, is_discarded: false }
    }
}

/// Filters that are asked.
#[derive(Debug)]
pub(crate) struct Asking {
    params: MilterParams,
    milters: Milters,
    steps: Steps,
    is_discarded: bool,
}

impl Asking {
    /// Tells them of a stage; the refusal, if they refuse it.
    pub(crate) fn stage(&mut self, stage: &'static str, facts: &Facts<'_>) -> Option<Vec<u8>> {
        let client = facts.client;
        let bracketed = |address: Option<&[u8]>| [b"<", address.unwrap_or_default(), b">"].concat();
        let (sender, rcpt) = (bracketed(facts.sender), bracketed(facts.recipient));
        let host = &facts.params.myhostname;
        match stage {
            "CONNECT" => {
                let is_unknown = client.address == UNKNOWN;
                let bare = [b"[", &client.address[..], b"]"].concat();
                let name = if client.name == UNKNOWN && !is_unknown { &bare } else { &client.name };
                let family = match client.address_type {
                    2 => Family::Inet,
                    10 => Family::Inet6,
                    _ => Family::Unknown,
                };
                let event = Event::Connect { name, family, port: b"0", address: &client.address };
                let refused = self.tell(stage, &event, facts)?;
                match refused.first() {
                    Some(b'5') => Some(format!("554 {host} ESMTP not accepting connections").into_bytes()),
                    _ if refused.starts_with(b"421") => {
                        Some(format!("421 {host} Service unavailable - try again later").into_bytes())
                    }
                    // The client hears of it at MAIL.
                    _ => None,
                }
            }
            "EHLO" | "HELO" => {
                let refused = self.tell(stage, &Event::Helo(facts.helo?), facts)?;
                // What is refused for now, or for good, is so at MAIL.
                Some(refused).filter(|text| text.starts_with(b"421"))
            }
            "MAIL" => self.tell(stage, &Event::Mail(&[&sender]), facts),
            "RCPT" => self.tell(stage, &Event::Rcpt(&[&rcpt]), facts),
            "DATA" => self.tell(stage, &Event::Data, facts),
            _ => None,
        }
    }

    /// Tells each of the content, as cleanup does behind the end of the message; the refusal, if one refuses it.
    pub(crate) fn message(&mut self, written: &Written, facts: &Facts<'_>) -> Option<Vec<u8>> {
        if self.is_discarded {
            return None;
        }
        let values = values(&self.params, facts, Some(NO_QUEUE_ID));
        for milter in self.milters.iter_mut() {
            let response = content(milter, written, &values, &self.steps);
            if response == Response::Shutdown {
                return Some(b"421 4.7.0 Service unavailable".to_vec());
            }
            if response != Response::Continue {
                return self.refusal(response);
            }
        }
        None
    }

    /// The message is given up.
    pub(crate) fn end(&mut self) {
        self.milters.abort();
        self.milters.disconnect();
    }

    fn tell(&mut self, stage: &'static str, event: &Event<'_>, facts: &Facts<'_>) -> Option<Vec<u8>> {
        if self.is_discarded {
            return None;
        }
        let values = values(&self.params, facts, (stage == "DATA").then_some(NO_QUEUE_ID));
        let mut told = Response::Continue;
        for milter in self.milters.iter_mut() {
            told = milter.event(event, &values);
            self.steps.push(step(milter, stage, &told));
            if told != Response::Continue {
                break;
            }
        }
        self.refusal(told)
    }

    fn refusal(&mut self, response: Response) -> Option<Vec<u8>> {
        match response {
            Response::Continue | Response::Hold(_) => None,
            Response::Discard => {
                self.is_discarded = true;
                None
            }
            Response::Reply(text) => Some(text),
            Response::Shutdown => Some(replies::SERVER_CLOSING.into()),
        }
    }
}

fn values<'v>(params: &'v MilterParams, facts: &Facts<'v>, queue_id: Option<&'v str>) -> Values<'v> {
    Values {
        params: facts.params,
        milters: params,
        client: facts.client,
        connections: 0,
        tls: None,
        login: facts.login,
        auth_author: None,
        queue_id,
        sender: facts.sender,
        rcpt: facts.recipient.map(Subject::Rcpt),
        resolver: &facts.services.resolver,
        resolved: (OnceCell::new(), OnceCell::new()),
    }
}

fn step(milter: &Milter, event: &str, response: &Response) -> Step {
    let (answer, text) = match response {
        Response::Continue => ("continue", String::new()),
        Response::Reply(text) => ("reply", shown(text)),
        Response::Discard => ("discard", String::new()),
        Response::Hold(reason) => ("hold", shown(reason)),
        Response::Shutdown => ("shutdown", String::new()),
    };
    Step::Milter { name: milter.conversation.name().to_owned(), event: event.to_owned(), answer, text }
}

/// Headers, body and end, as far as the filter wants to go on.
fn content(milter: &mut Milter, written: &Written, macros: &dyn Macros, steps: &Steps) -> Response {
    for text in &written.headers {
        let colon = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
        let (name, value) = (text[..colon].trim_ascii_end(), text.get(colon + 1..).unwrap_or_default());
        let response = milter.event(&Event::Header { name, value }, macros);
        if response != Response::Continue {
            steps.push(step(milter, "header", &response));
            return response;
        }
    }
    let mut response = milter.event(&Event::EndOfHeaders, macros);
    if response != Response::Continue {
        steps.push(step(milter, "end of headers", &response));
        return response;
    }
    for chunk in written.body.chunks(CHUNK) {
        response = milter.event(&Event::Body(chunk), macros);
        if response != Response::Continue {
            steps.push(step(milter, "body", &response));
            return response;
        }
    }
    let name = milter.conversation.name().to_owned();
    response = milter.end_of_message(macros, &mut |edit| {
        if edit != Edit::EndOfBody {
            let (name, event, text) = (name.clone(), "END-OF-MESSAGE".to_owned(), shown_edit(&edit));
            steps.push(Step::Milter { name, event, answer: "edit", text });
        }
    });
    steps.push(step(milter, "END-OF-MESSAGE", &response));
    response
}

fn shown_edit(edit: &Edit) -> String {
    match edit {
        Edit::AddHeader { name, value } => format!("add header {}:{}", shown(name), shown(value)),
        Edit::InsertHeader { index, name, value } => {
            format!("insert header at {index} {}:{}", shown(name), shown(value))
        }
        other => shown(format!("{other:?}").as_bytes()),
    }
}
