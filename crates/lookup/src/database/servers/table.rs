//! A table that asks servers.

use std::sync::Arc;

use config::printable;

use super::{Connection, Engine, Servers};
use crate::database::Shape;
use crate::{Kind, LookupError, Table};

/// The table.
#[derive(Debug)]
pub(in crate::database) struct ServerTable<E: Engine> {
    shape: Shape,
    servers: Arc<Servers<E>>,
}

impl<E: Engine> ServerTable<E> {
    pub(in crate::database) fn new(shape: Shape, servers: Arc<Servers<E>>) -> Self {
        ServerTable { shape, servers }
    }
}

impl<E: Engine> Table for ServerTable<E>
where
    E::Connection: Connection,
{
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LookupError> {
        let wanted =
            self.shape.key(key).inspect_err(|_| E::domain_failed(&self.shape.name, &self.shape.folded(key)));
        let Some(key) = wanted? else { return Ok(None) };
        // Whether there is a query at all does not depend on how the key is quoted.
        if self.shape.query(&key, |_, _| {}).is_none() {
            return Ok(None);
        }
        if key.contains(&0) {
            log::warn!("table \"{}\": a key with a NUL: \"{}\" -- ignored", self.shape.name, printable(&key));
            return Ok(None);
        }
        let mut answer = self.shape.answer(&key);
        let mut added = Ok(());
        let query =
            |connection: &E::Connection| self.shape.query(&key, |text, out| connection.quote(text, out));
        let asked = self.servers.ask(&self.shape.name, &query, &mut |value| {
            // Values are texts of C.
            let value = value.split(|byte| *byte == 0).next().unwrap_or_default();
            added = answer.add(value);
            added.is_ok()
        });
        added?;
        if asked { Ok(answer.result()) } else { Err(LookupError::Retry) }
    }

    fn kind(&self) -> Kind {
        Kind::Fixed
    }

    fn name(&self) -> &str {
        &self.shape.name
    }
}
