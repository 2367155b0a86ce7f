//! Maildirs: a file for each message, written in `tmp/` and then linked to `new/` (spec local-delivery 11).

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, BufWriter};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use delivery::{CopyError, Delivery, Form};

use crate::failure::Failure;
use crate::mbox::sync_directory;

/// What is written at once.
const BUFFER: usize = 32 * 1024;

/// Delivers to the maildir at this path, which ends in `/`; folders that are not there are made. `code` is that of an error
/// that says nothing of itself.
///
/// # Errors
/// The message is not in `new/`, and nothing of it is left.
pub fn deliver(
    delivery: &Delivery<'_>,
    form: &Form<'_>,
    maildir: &Path,
    code: &'static str,
) -> Result<(), Failure> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let host = sys::host::name().unwrap_or_default();
    let name = format!("{}.P{}.{host}", now.as_secs(), sys::process::thread_id());
    let temporary = Temporary::create(below(maildir, "tmp/", &name), maildir, code)?;
    let metadata = write(delivery, form, &temporary.file)?;
    let new = below(maildir, "new/", &name_of(now, &metadata, &host));
    temporary.link_to(&new, maildir).map_err(|error| refused(&new, &error, code))?;
    sync_directory(new.parent()).map_err(|error| {
        let _ = fs::remove_file(&new);
        Failure::from(CopyError::Write(error))
    })
}

/// The name of a message: no two files that exist have the same device and inode.
fn name_of(now: Duration, metadata: &Metadata, host: &str) -> String {
    let (device, inode, micros) = (metadata.dev(), metadata.ino(), now.subsec_micros());
    format!("{}.V{device:x}I{inode:x}M{micros}.{host}", now.as_secs())
}

fn write(delivery: &Delivery<'_>, form: &Form<'_>, file: &File) -> Result<Metadata, Failure> {
    let mut output = BufWriter::with_capacity(BUFFER, file);
    let copied = delivery.copy(form, &mut output);
    // What is left of a failed copy must not be written when the buffer goes.
    let (_, _) = output.into_parts();
    let synced =
        copied.and_then(|()| file.sync_all().and_then(|()| file.metadata()).map_err(CopyError::Write));
    synced.map_err(Failure::from)
}

/// As text: a maildir's path that ends in two slashes keeps both in what is told of it.
fn below(maildir: &Path, folder: &str, name: &str) -> PathBuf {
    let mut path = OsString::from(maildir.as_os_str());
    path.push(folder);
    path.push(name);
    PathBuf::from(path)
}

fn refused(path: &Path, error: &io::Error, code: &'static str) -> Failure {
    let path = path.as_os_str().as_bytes();
    let text = [b"create maildir file ", path, b": ", sys::error_text(error).as_bytes()].concat();
    Failure::of_file(error, code, text)
}

/// A file in `tmp/`, removed when it goes out of scope.
struct Temporary {
    file: File,
    path: PathBuf,
}

impl Temporary {
    fn create(path: PathBuf, maildir: &Path, code: &'static str) -> Result<Self, Failure> {
        let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let created = create_in(create, || make_folder(maildir, "tmp/"));
        match created {
            Ok(file) => Ok(Self { file, path }),
            Err(error) => Err(refused(&path, &error, code)),
        }
    }

    fn link_to(&self, new: &Path, maildir: &Path) -> io::Result<()> {
        let make_folders = || {
            // Mail readers want it; this delivery does not.
            let _ = make_folder(maildir, "cur/");
            make_folder(maildir, "new/")
        };
        create_in(|| fs::hard_link(&self.path, new), make_folders)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            let path = self.path.as_os_str().as_bytes().escape_ascii();
            log::warn!("remove {path}: {}", sys::error_text(&error));
        }
    }
}

/// Tries, and once more with the folder made that may not have been there.
fn create_in<T>(
    mut create: impl FnMut() -> io::Result<T>,
    make_folder: impl FnOnce() -> io::Result<()>,
) -> io::Result<T> {
    match create() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_folder()?;
            create()
        }
        done => done,
    }
}

fn make_folder(maildir: &Path, name: &str) -> io::Result<()> {
    let folder = below(maildir, name, "");
    match DirBuilder::new().recursive(true).mode(0o700).create(&folder) {
        // It is a link that leads nowhere, or no folder.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::metadata(&folder)?;
            Err(io::ErrorKind::NotADirectory.into())
        }
        done => done,
    }
}
