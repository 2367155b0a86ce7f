//! A multi server that echoes lines, `pid` and `clients` apart. For the tests of the skeleton.

#![forbid(unsafe_code)]

use std::io::{BufRead, Write};

use server::{After, Connection, Fatal, MultiService, Service, Start};

struct Probe {
    clients: u32,
}

impl Service for Probe {
    fn configure(_: &Start) -> Result<Self, Fatal> {
        Ok(Self { clients: 0 })
    }

    fn before_exit(&mut self, _: &Start) {
        log::info!("probe leaves");
    }
}

impl MultiService for Probe {
    type Client = ();

    fn connected(&mut self, connection: &mut Connection, _: &Start) -> Option<()> {
        self.clients += 1;
        connection.write_all(b"hello\n").ok()
    }

    fn request(&mut self, (): &mut (), connection: &mut Connection, _: &Start) -> After {
        let mut line = String::new();
        if connection.read_line(&mut line).is_err() {
            return After::Close;
        }
        let answer = match line.trim_end() {
            "pid" => std::process::id().to_string(),
            "clients" => self.clients.to_string(),
            "close" => return After::Close,
            other => other.to_string(),
        };
        match connection.write_all(format!("{answer}\n").as_bytes()) {
            Ok(()) => After::Keep,
            Err(_) => After::Close,
        }
    }

    fn disconnected(&mut self, (): (), _: &Start) {
        self.clients -= 1;
    }
}

fn main() {
    server::multi::<Probe>("probe_multi")
}
