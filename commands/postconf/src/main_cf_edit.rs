//! `-e`, `-X` and `-#` on main.cf.
//!
//! Comments, blank lines and entries that nobody asked about are copied as they are. The first line
//! of a changed entry takes its new value and the lines that continue it go; comments between them
//! stay. What is not there yet comes at the end, sorted.

use std::collections::BTreeMap;

use config::logical_lines::{is_space, trim_start};
use config::{Assignment, ConfigDir, printable};

use crate::Stop;
use crate::options::Edit;
use crate::rewrite_file::Rewrite;

/// The requests by name: the new value, empty when there is none to set.
type Requests = BTreeMap<Vec<u8>, Request>;

struct Request {
    value: Vec<u8>,
    seen: usize,
}

/// Changes main.cf.
///
/// # Errors
/// When a request is malformed or the file cannot be changed.
pub(crate) fn edit(directory: &ConfigDir, edit: Edit, arguments: &[Vec<u8>]) -> Result<(), Stop> {
    let mut requests = parse(edit, arguments)?;
    let path = directory.main_cf();
    let mut file = Rewrite::open(&path)?;
    // Whether the lines that continue the entry at hand go the way of its first line.
    let mut inside = false;
    while let Some(line) = file.line()? {
        match trim_start(&line).first() {
            None | Some(b'#') => {
                file.write(&line)?;
                continue;
            }
            Some(_) => {}
        }
        let request = match Assignment::parse(&line) {
            _ if is_space(line[0]) => {
                if !inside {
                    file.write(&line)?;
                } else if edit == Edit::Comment {
                    file.write(&[b"#", &line[..]].concat())?;
                }
                continue;
            }
            // A line without "=" is no setting, but -e, -X and -# find its name all the same.
            _ => requests.get_mut(name_of(&line)),
        };
        inside = request.is_some();
        let Some(request) = request else {
            file.write(&line)?;
            continue;
        };
        request.seen += 1;
        if request.seen == 2 {
            log::warn!("{}: multiple entries for \"{}\"", path.display(), printable(name_of(&line)));
        }
        match edit {
            Edit::Set => file.write(&setting(name_of(&line), &request.value))?,
            Edit::Comment => file.write(&[b"#", &line[..]].concat())?,
            Edit::Remove => {}
        }
    }
    if edit == Edit::Set {
        for (name, request) in requests.iter().filter(|(_, request)| request.seen == 0) {
            file.write(&setting(name, &request.value))?;
        }
    }
    file.finish()
}

fn setting(name: &[u8], value: &[u8]) -> Vec<u8> {
    [name, b" = ", value, b"\n"].concat()
}

/// The name that a line starts with.
fn name_of(line: &[u8]) -> &[u8] {
    let end = line.iter().position(|byte| is_space(*byte) || *byte == b'=').unwrap_or(line.len());
    &line[..end]
}

fn parse(edit: Edit, arguments: &[Vec<u8>]) -> Result<Requests, Stop> {
    if arguments.is_empty() {
        return Err(Stop::fatal(match edit {
            Edit::Set => "-e requires name=value argument",
            Edit::Remove | Edit::Comment => "missing service argument",
        }));
    }
    let mut requests = Requests::new();
    for argument in arguments {
        if argument.contains(&b'\n') {
            return Err(Stop::fatal("-e, -X, or -# accepts no multi-line input"));
        }
        let text = trim_start(argument);
        if text.first() == Some(&b'#') {
            return Err(Stop::fatal("-e, -X, or -# accepts no comment input"));
        }
        let (name, value) = match edit {
            Edit::Set => {
                let Assignment { name, value } = Assignment::parse(text)
                    .map_err(|why| Stop::fatal(format!("{why}: \"{}\"", printable(text))))?;
                (name, value)
            }
            Edit::Remove | Edit::Comment => (name_to_remove(text)?, &b""[..]),
        };
        let request = Request { value: value.to_vec(), seen: 0 };
        if let Some(earlier) = requests.insert(name.to_vec(), request)
            && edit == Edit::Set
        {
            let (name, value) = (printable(name), printable(&earlier.value));
            log::warn!("ignoring earlier request: '{name} = {value}'");
        }
    }
    Ok(requests)
}

fn name_to_remove(text: &[u8]) -> Result<&[u8], Stop> {
    if text.is_empty() {
        return Err(Stop::fatal("-X or -# requires non-blank parameter names"));
    }
    if text.contains(&b'=') {
        return Err(Stop::fatal("-X or -# requires parameter names without value"));
    }
    Ok(text)
}
