//! proxymap: opens lookup tables for other processes, once for all (spec tables 13, ipc 10).
//!
//! Under the service name `proxymap` it reads, under `proxywrite` it also changes tables. Which tables it may open is
//! what `proxy_read_maps` and `proxy_write_maps` name as `proxy:type:name` ([`Approved`]); any other is refused. A
//! table stays open for further requests; when its file changes the reader starts anew.

#![forbid(unsafe_code)]

mod tables;

use std::time::Duration;

use config::expand::Names;
use config::{Complaint, Config, printable};
use ipc::announce::Protocol;
use ipc::dialect::Dialect;
use ipc::proxymap::{Reply, Request, Status};
use lookup::Approved;
use server::{After, Connection, Fatal, MultiService, Service, Start};

use tables::{Tables, Wish};

/// Limit of reading the rest of a request, and of writing the reply.
const REQUEST_LIMIT: Duration = Duration::from_secs(1);

/// Which of the two services this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Reader,
    Writer,
}

impl Role {
    fn parameter(self) -> &'static str {
        match self {
            Role::Reader => "proxy_read_maps",
            Role::Writer => "proxy_write_maps",
        }
    }

    fn access(self) -> &'static str {
        match self {
            Role::Reader => "read-only",
            Role::Writer => "read-write",
        }
    }
}

/// The service.
#[derive(Debug)]
pub struct Proxymap {
    role: Role,
    approved: Approved,
    tables: Tables,
    dialect: Dialect,
}

impl Service for Proxymap {
    fn configure(start: &Start) -> Result<Self, Fatal> {
        start.no_arguments()?;
        let role = match start.service_name.as_str() {
            "proxywrite" => Role::Writer,
            "proxymap" => Role::Reader,
            _ => return Err(Fatal::new("service name must be one of proxymap or proxymap")),
        };
        let text = |name: &str| start.config.text(name).map_err(|error| Fatal::new(error.to_string()));
        let globals = start.config.globals();
        Ok(Proxymap {
            role,
            approved: Approved::parse(text(role.parameter())?.as_bytes()),
            tables: Tables::new(role == Role::Writer, globals.lmdb_map_size),
            dialect: Dialect::of_postfix_3(globals.postfix_minor),
        })
    }

    /// Tables of a type that is not there: their clients get a temporary error, and do not know why.
    fn complaints(&self, start: &Start) -> Vec<Complaint> {
        // Not expanded: the parameters that it is made of have places of their own.
        let list = start.config.value(self.role.parameter().as_bytes()).unwrap_or_default();
        let list = String::from_utf8_lossy(&list);
        self.approved
            .tables()
            .into_iter()
            .filter_map(|table| lookup::unsupported(table).map(|fault| (table, fault)))
            .map(|(table, fault)| {
                let parameter = names_in(&list)
                    .find(|name| names_table(&start.config, name, table))
                    .unwrap_or_else(|| self.role.parameter());
                Complaint::new(&start.config, parameter, format!("proxy:{}", fault.told()))
            })
            .collect()
    }

    fn changed_table(&self) -> Option<String> {
        (self.role == Role::Reader).then(|| self.tables.changed(self.dialect)).flatten()
    }
}

/// The parameters that a value is made of: `$name` and `${name`.
fn names_in(value: &str) -> impl Iterator<Item = &str> {
    value.split('$').skip(1).filter_map(|rest| {
        let rest = rest.trim_start_matches('{');
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        rest.split(|c| !is_part(c)).next().filter(|name| !name.is_empty())
    })
}

fn names_table(config: &Config, parameter: &str, table: &[u8]) -> bool {
    let value = config.custom(parameter).ok().flatten().unwrap_or_default();
    Approved::parse(&value).contains(table)
}

impl MultiService for Proxymap {
    type Client = ();

    fn connected(&mut self, connection: &mut Connection, _: &Start) -> Option<()> {
        Protocol::PROXYMAP.announce(connection).ok()
    }

    fn request(&mut self, (): &mut (), connection: &mut Connection, start: &Start) -> After {
        connection.set_limit(Some(REQUEST_LIMIT));
        let name = format!("{} socket", start.service_name);
        let sent = match Request::read(connection, &name, self.dialect) {
            Ok(Ok(request)) => self.answer(request, connection),
            Ok(Err(unknown)) => {
                log::warn!("unrecognized request: \"{}\", ignored", printable(&unknown));
                Reply::Unknown.send(self.dialect, 0, connection)
            }
            Err(error) => {
                error.warn();
                return After::Close;
            }
        };
        if sent.is_ok() { After::Keep } else { After::Close }
    }
}

impl Proxymap {
    fn answer(&mut self, request: Request, connection: &mut Connection) -> std::io::Result<()> {
        use ipc::proxymap::Action;
        let mut table = request.table.as_slice();
        while let Some(rest) = table.strip_prefix(b"proxy:") {
            table = rest;
        }
        let flags = request.flags;
        let wish = Wish { instance_flags: request.instance_flags, flags };
        let writes = matches!(request.action, Action::Update(..) | Action::Delete(_));
        let refusal = if writes && self.role == Role::Reader {
            let what = if matches!(request.action, Action::Delete(_)) { "delete" } else { "update" };
            log::warn!("refusing {} {what} request on non-proxywrite service", printable(table));
            Some(Status::Denied)
        } else if !table.contains(&b':') {
            // Listed or not.
            Some(Status::Bad)
        } else {
            (!self.allows(table)).then_some(Status::Denied)
        };
        let (tables, dialect) = (&mut self.tables, self.dialect);
        if let Some(status) = refusal {
            return match request.action {
                Action::Open => Reply::Opened(status, 0),
                Action::Lookup(_) => Reply::Value(status, b""),
                Action::Sequence(_) => Reply::Entry(status, b"", b""),
                Action::Update(..) | Action::Delete(_) => Reply::Done(status),
            }
            .send(dialect, 0, connection);
        }
        match request.action {
            Action::Open => {
                Reply::Opened(Status::Ok, tables.open(table, wish)).send(dialect, flags, connection)
            }
            Action::Lookup(key) => {
                let (status, value, flags) = tables.lookup(table, wish, &key);
                Reply::Value(status, &value).send(dialect, flags, connection)
            }
            Action::Update(key, value) => {
                let (status, flags) = tables.update(table, wish, &key, &value);
                Reply::Done(status).send(dialect, flags, connection)
            }
            Action::Delete(key) => {
                let (status, flags) = tables.delete(table, wish, &key);
                Reply::Done(status).send(dialect, flags, connection)
            }
            Action::Sequence(function) => {
                let (status, key, value) = tables.sequence(table, wish, function);
                let flags = if status == Status::Bad { 0 } else { flags };
                Reply::Entry(status, &key, &value).send(dialect, flags, connection)
            }
        }
    }

    fn allows(&self, table: &[u8]) -> bool {
        let allowed = self.approved.contains(table);
        if !allowed {
            let (shown, access, parameter) = (printable(table), self.role.access(), self.role.parameter());
            log::warn!("request for unapproved table: \"{shown}\"");
            log::warn!(
                "to approve this table for {access} access, list proxy:{shown} in main.cf:{parameter}"
            );
        }
        allowed
    }
}
