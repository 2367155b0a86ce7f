//! A single server that tells what master gave it, and then echoes lines. For the tests of the skeleton.
//!
//! The line `pid` is answered with the process id, `environment`, `arguments` and `descriptors` with what they
//! say, `opened by` with the process that opened its tables, `from` with the client's address, `stuck` takes a minute, `crash` ends in a
//! panic, `die` in a fatal error. With the argument `sessions=N` it has up to N clients at once, with `unopenable` it
//! does not start.

#![forbid(unsafe_code)]

use std::io::{BufRead, Write};

use server::{Connection, Descriptors, Fatal, Service, Sessions, SingleService, Start};

struct Probe {
    sessions: usize,
    /// The process that opened its tables.
    opened_by: u32,
}

impl Service for Probe {
    fn configure(start: &Start) -> Result<Self, Fatal> {
        let sessions = start.arguments.iter().find_map(|word| word.to_str()?.strip_prefix("sessions="));
        let sessions = sessions.and_then(|number| number.parse().ok()).unwrap_or(1);
        Ok(Self { sessions, opened_by: 0 })
    }

    fn sessions(&self) -> Sessions {
        Sessions { count: self.sessions, descriptors: Descriptors { process: 100, session: 1, work: 3 } }
    }

    fn pre_jail(&mut self, start: &Start) -> Result<(), Fatal> {
        if start.arguments.iter().any(|word| word == "unopenable") {
            return Err(Fatal::new("open hash:/etc/unopenable: as asked"));
        }
        self.opened_by = std::process::id();
        Ok(())
    }

    fn changed_table(&self) -> Option<String> {
        std::path::Path::new("changed").exists().then(|| "hash:/etc/changed".to_string())
    }

    fn before_exit(&mut self, _: &Start) {
        log::info!("probe leaves");
    }
}

impl SingleService for Probe {
    type Worker = u32;

    fn worker(&self, start: &Start) -> u32 {
        log::info!("probe starts as {} {}", start.transport.name(), start.service_name);
        0
    }

    fn serve(&self, served: &mut u32, mut connection: Connection, start: &Start) {
        *served += 1;
        let mut line = String::new();
        while connection.read_line(&mut line).is_ok_and(|count| count > 0) {
            let answer = match line.trim_end() {
                "opened by" => self.opened_by.to_string(),
                question => answer(question, *served, &connection, start),
            };
            if connection.write_all(format!("{answer}\n").as_bytes()).is_err() {
                break;
            }
            line.clear();
        }
    }
}

fn answer(question: &str, served: u32, connection: &Connection, start: &Start) -> String {
    let joined = |items: Vec<String>| items.join(" ");
    match question {
        "pid" => std::process::id().to_string(),
        "thread" => sys::process::thread_id().to_string(),
        "served" => served.to_string(),
        "environment" => joined(std::env::vars().map(|(name, value)| format!("{name}={value}")).collect()),
        "arguments" => joined(std::env::args().collect()),
        "descriptors" => descriptors(),
        "user" => format!("{} {}", sys::user::euid(), sys::user::egid()),
        "directory" => std::env::current_dir().unwrap_or_default().display().to_string(),
        "tokens" => format!("{:?}", start.flow.as_ref().map(|flow| (flow.count(), flow.take()))),
        "from" => {
            let passed = connection.attributes().get("client_address").map(|a| maillog::shown(a).to_string());
            format!("{:?} {passed:?}", connection.peer())
        }
        "error" => {
            log::error!("as asked");
            "logged".into()
        }
        "stuck" => {
            std::thread::sleep(std::time::Duration::from_secs(60));
            "woke".into()
        }
        "crash" => panic!("as asked"),
        "die" => maillog::fatal("as asked"),
        other => other.to_string(),
    }
}

fn descriptors() -> String {
    let Ok(listed) = std::fs::read_dir("/proc/self/fd") else { return "unknown".into() };
    let mut found: Vec<String> = listed
        .filter_map(Result::ok)
        .map(|entry| {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            let flags =
                std::fs::read_to_string(format!("/proc/self/fdinfo/{}", entry.file_name().to_string_lossy()));
            let flags = flags.unwrap_or_default();
            let flags = flags.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("?").trim();
            format!("{}={}:{flags}", entry.file_name().to_string_lossy(), target.display())
        })
        .collect();
    found.sort();
    found.join(" ")
}

fn main() {
    server::single::<Probe>("probe_single")
}
