//! Delivery status notifications: the services bounce, defer and trace (spec bounce).
//!
//! Each is this program under another name, which is the directory of its logs. Agents append to the log of a message what became
//! of a recipient ([`logfile`]); when the message is done with, or late, the queue manager has the log made into a notice
//! ([`notice`]) to the sender, which goes back into the queue by way of cleanup ([`send`]). What a notice says before it comes to
//! recipients stands in a template.
//!
//! A request that cannot be carried out is answered with another status than 0, or not at all: the client then keeps what it had.

#![forbid(unsafe_code)]

mod builtin;
mod expand;
mod header;
mod kind;
mod logfile;
mod notice;
mod original;
mod params;
mod send;
mod template;
mod template_file;
mod wrap;

use std::io::{self, Write};

use ipc::bounce::{FLAG_CLEAN, Request, announce, send_status};
use ipc::dialect::Dialect;
use posting::{Class, Posting};
use queue::{DeliveryRecord, QueueDirectory, QueueId, printable};
use server::{Connection, Fatal, Requires, Service, SingleService, Start};
use sys::last_words;

use kind::Kind;
use logfile::Logfile;
use params::Params;
use send::Sending;
use template_file::{TemplateFile, Templates};

/// Runs the program.
pub fn main() -> ! {
    server::single::<Bounce>("bounce")
}

/// What a request is answered with that was not carried out.
const FAILED: i32 = -1;
/// Longest name of a queue.
const QUEUE_NAME: usize = 100;

/// The service.
#[derive(Debug)]
struct Bounce {
    params: Params,
    posting: Posting,
    templates: TemplateFile,
    template_file: String,
    obsolete_from: bool,
    directory: QueueDirectory,
    dialect: Dialect,
    stream: String,
}

impl Service for Bounce {
    /// Cleanup asks for this service while it is asked by it.
    const REQUIRES: Requires = Requires::LIMIT_ZERO;

    fn configure(start: &Start) -> Result<Self, Fatal> {
        let config = &start.config;
        let globals = config.globals();
        let obsolete_from = match config.text("header_from_format")?.as_str() {
            "standard" => false,
            "obsolete" => true,
            other => {
                let text = format!("invalid setting: \"header_from_format = {other}\"");
                return Err(config.wrong("header_from_format", text).into());
            }
        };
        Ok(Self {
            params: Params::read(config)?,
            posting: Posting::new(globals, Class::Bounce),
            templates: TemplateFile::default(),
            template_file: config.text("bounce_template_file")?,
            obsolete_from,
            directory: QueueDirectory::configured(globals),
            dialect: Dialect::of_postfix_3(globals.postfix_minor),
            stream: format!("{} socket", start.service_name),
        })
    }

    fn pre_jail(&mut self, start: &Start) -> Result<(), Fatal> {
        self.templates = TemplateFile::read(&self.template_file, self.obsolete_from)?;
        match start.service_name.as_str() {
            "dump_templates" => show(&self.templates, |template| {
                (format!("{}_template", template.kind.name()), template.text())
            }),
            "expand_templates" => show(&self.templates, |template| {
                let lines = template.body.iter().map(|line| expand::line(&start.config, template, line));
                let text = lines.flat_map(|line| [line, b"\n".to_vec()].concat()).collect();
                (format!("expanded_{}_text", template.kind.name()), text)
            }),
            _ => Ok(()),
        }
    }

    fn post_jail(&mut self, start: &mut Start) -> Result<(), Fatal> {
        last_words::end_at_sigterm(0)
            .map_err(|error| Fatal::new(format!("sigaction: {}", sys::error_text(&error))))?;
        maillog::on_fatal(last_words::remove_now);
        let name = &start.service_name;
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Fatal::new(format!("illegal service name: {name}")));
        }
        Ok(())
    }
}

/// Prints something of each template, and leaves.
fn show(file: &TemplateFile, text: impl Fn(&template::Template) -> (String, Vec<u8>)) -> Result<(), Fatal> {
    let templates = Templates::new(file.clone());
    let mut out = Vec::new();
    for kind in Kind::ALL {
        let (name, text) = text(&templates.of(kind));
        if !out.is_empty() {
            out.push(b'\n');
        }
        out.extend_from_slice(format!("{name} = <<EOF\n").as_bytes());
        out.extend_from_slice(&text);
        out.extend_from_slice(b"EOF\n");
    }
    let mut stdout = io::stdout().lock();
    match stdout.write_all(&out).and_then(|()| stdout.flush()) {
        Ok(()) => sys::process::exit_now(0),
        Err(error) => Err(Fatal::new(format!("write output: {}", sys::error_text(&error)))),
    }
}

impl SingleService for Bounce {
    type Worker = Templates;
    const KEEPS_WORKER: bool = true;

    fn worker(&self, _: &Start) -> Templates {
        Templates::new(self.templates.clone())
    }

    fn serve(&self, templates: &mut Templates, mut connection: Connection, start: &Start) {
        connection.set_limit(Some(start.ipc_timeout));
        if announce(&mut connection).is_err() {
            return;
        }
        let request = match Request::read(&mut connection, &self.stream, self.dialect) {
            Ok(request) => request,
            Err(error) => {
                error.warn();
                log::warn!("malformed request");
                let _ = send_status(FAILED, &mut connection);
                return;
            }
        };
        let Some((flags, logfile)) = self.logfile(&request, &start.service_name) else {
            let _ = send_status(FAILED, &mut connection);
            return;
        };
        let removal = (flags & FLAG_CLEAN != 0).then(|| last_words::remove(logfile.path()).ok()).flatten();
        let status = self.obey(request, &logfile, templates, start);
        let told = send_status(status, &mut connection);
        drop(removal);
        if flags & FLAG_CLEAN != 0 && (status != 0 || told.is_err()) {
            logfile.remove();
        }
    }
}

impl Bounce {
    /// The flags of a request and the log that it is about; nothing, after a warning, for a request that nothing can be done
    /// about.
    fn logfile(&self, request: &Request, service: &str) -> Option<(i32, Logfile)> {
        let (flags, queue_id, queue_name) = match request {
            Request::Append(append) => (append.flags, &append.queue_id, None),
            Request::Flush(message)
            | Request::Warn(message)
            | Request::Verp(message, _)
            | Request::One(message, ..)
            | Request::Trace(message) => (message.flags, &message.queue_id, Some(&message.queue_name)),
            Request::Unknown(command) => {
                log::warn!("unknown command: {command}");
                return None;
            }
        };
        if matches!(request, Request::One(..)) && service != "bounce" {
            log::warn!("wrong service name \"{service}\" for one-recipient bouncing");
            return None;
        }
        if let Some(name) = queue_name
            && !(1..=QUEUE_NAME).contains(&name.len()) | !name.iter().all(u8::is_ascii_alphanumeric)
        {
            log::warn!("malformed queue name: {}", self.shown(name));
            return None;
        }
        let Ok(id) = QueueId::parse(queue_id) else {
            log::warn!("malformed queue id: {}", self.shown(queue_id));
            return None;
        };
        if let Request::Verp(_, delimiters) = request
            && delimiters.len() != 2
        {
            log::warn!("malformed verp delimiter string: {}", self.shown(delimiters));
            return None;
        }
        Some((flags, Logfile::new(&self.directory, service, &id)))
    }

    fn shown(&self, text: &[u8]) -> String {
        String::from_utf8_lossy(&self.printable(text)).into_owned()
    }

    fn printable(&self, text: &[u8]) -> Vec<u8> {
        printable(text, self.params.smtputf8_enable)
    }

    fn obey(&self, request: Request, logfile: &Logfile, templates: &Templates, start: &Start) -> i32 {
        match request {
            Request::Append(append) => {
                let mut record = self.record(&append.recipient, &append.diagnosis);
                let folded = |address: &[u8]| address::fold(address, self.params.smtputf8_enable);
                if folded(&append.recipient.original) == folded(&append.recipient.address) {
                    // It is no other.
                    record.original_recipient.clear();
                }
                for address in [&mut record.recipient, &mut record.original_recipient] {
                    if !address.is_empty() {
                        *address = address::external(address);
                    }
                }
                logfile.append(&self.directory, &record, self.params.with_summary);
                0
            }
            Request::Flush(message) => Sending::new(self, logfile, &message, templates, start).flush(),
            Request::Warn(message) => Sending::new(self, logfile, &message, templates, start).warn(),
            Request::Verp(message, delimiters) => {
                Sending::new(self, logfile, &message, templates, start).verp(&delimiters)
            }
            Request::One(message, recipient, diagnosis) => {
                let record = self.record(&recipient, &diagnosis);
                Sending::new(self, logfile, &message, templates, start).one(&record)
            }
            Request::Trace(message) => Sending::new(self, logfile, &message, templates, start).trace(),
            Request::Unknown(_) => FAILED,
        }
    }

    /// What an agent tells of a recipient; addresses in the form that they have in the request.
    fn record(
        &self,
        recipient: &ipc::delivery::Recipient,
        diagnosis: &ipc::bounce::Diagnosis,
    ) -> DeliveryRecord {
        DeliveryRecord {
            recipient: self.printable(&recipient.address),
            original_recipient: self.printable(&recipient.original),
            offset: u64::try_from(recipient.offset).unwrap_or(0),
            dsn_orig_rcpt: self.printable(&recipient.dsn_original),
            notify_flags: recipient.notify_flags,
            status: self.printable(&diagnosis.status),
            action: self.printable(&diagnosis.action),
            diag_type: self.printable(&diagnosis.diag_type),
            diag_text: self.printable(&diagnosis.diag_text),
            mta_type: self.printable(&diagnosis.mta_type),
            mta_mname: self.printable(&diagnosis.mta_mname),
            reason: self.printable(&diagnosis.reason),
        }
    }
}
