//! Mistakes of the configuration that stop nobody, told once: by the first process of a service, not by each of the
//! thousands that follow it.
//!
//! What was told is remembered in `pid/TYPE.NAME.told`, with master's process id and the times of main.cf and
//! master.cf: it is told again after a start, and when a file was edited.

use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;

use config::Complaint;
use lookup::OpenFault;
use sys::Pid;
use sys::flock;

use crate::Service;
use crate::start::Start;

/// All that a service has to say, and the tables that it could not open.
pub(crate) fn all<S: Service>(service: &S, start: &Start, unopened: &[OpenFault]) -> Vec<Complaint> {
    let of_table = |fault: &OpenFault| Complaint::new(&start.config, &fault.title, fault.told());
    Complaint::distinct(service.complaints(start).into_iter().chain(unopened.iter().map(of_table)).collect())
}

/// Logs each complaint, unless the service has done so under this master.
pub(crate) fn tell(start: &Start, master: Pid, complaints: &[Complaint]) {
    if complaints.is_empty() {
        return;
    }
    let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
    if start.stand_alone || is_new(start, master, &lines).unwrap_or(true) {
        for line in lines {
            log::warn!("{line}");
        }
    }
}

/// Remembers that these lines are told.
fn is_new(start: &Start, master: Pid, lines: &[String]) -> io::Result<bool> {
    let mut hasher = DefaultHasher::new();
    lines.hash(&mut hasher);
    let directory = start.config.directory();
    for file in [directory.main_cf(), directory.master_cf()] {
        let modified = std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
        modified.hash(&mut hasher);
    }
    let mark = format!("{} {:016x}\n", master, hasher.finish());
    let path = PathBuf::from(format!("pid/{}.{}.told", start.transport.name(), start.service_name));
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let mut file: File = sys::file::open_or_create(&path, &options, 0o600)
        .map_err(|error| io::Error::other(error.to_string()))?;
    flock::lock(&file, flock::Mode::Exclusive, flock::Wait::Forever)?;
    let mut before = String::new();
    (&mut file).take(1024).read_to_string(&mut before)?;
    if before == mark {
        return Ok(false);
    }
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(mark.as_bytes())?;
    Ok(true)
}
