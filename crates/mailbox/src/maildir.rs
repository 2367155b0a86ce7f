//! Maildirs: a file for each message, written in `tmp/` and then moved to `new/` (spec local-delivery 11).
//!
//! The message is in `new/` for good before it is told to be: content and name are safe. Each commit of a journal costs as
//! much as all else of a delivery, so there is one where it serves both ([`sys::disk::syncs_names`]): the content is written
//! out, the name is given, and then the file is synced. In between a crash leaves no name without the content. Elsewhere
//! the file is synced, then the name is given, and then the folder is synced.

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
    let mut temporary = Temporary::create(below(maildir, "tmp/", &name), maildir, code)?;
    let way =
        if sys::disk::syncs_names(&temporary.file).unwrap_or(false) { Way::Together } else { Way::Each };
    let metadata = write(delivery, form, &temporary.file, way)?;
    let new = below(maildir, "new/", &name_of(now, &metadata, &host));
    temporary.move_to(&new, maildir).map_err(|error| refused(&new, &error, code))?;
    let synced = match way {
        Way::Together => temporary.file.sync_all(),
        Way::Each => sync_directory(new.parent()),
    };
    synced.map_err(|error| {
        let _ = fs::remove_file(&new);
        Failure::from(CopyError::Write(error))
    })
}

/// How content and name are made safe.
#[derive(Clone, Copy)]
enum Way {
    /// With one sync of the file, once it has its name.
    Together,
    /// With one of the file and one of the folder.
    Each,
}

/// The name of a message: no two files that exist have the same device and inode.
fn name_of(now: Duration, metadata: &Metadata, host: &str) -> String {
    let (device, inode, micros) = (metadata.dev(), metadata.ino(), now.subsec_micros());
    format!("{}.V{device:x}I{inode:x}M{micros}.{host}", now.as_secs())
}

fn write(delivery: &Delivery<'_>, form: &Form<'_>, file: &File, way: Way) -> Result<Metadata, Failure> {
    let mut output = BufWriter::with_capacity(BUFFER, file);
    let copied = delivery.copy(form, &mut output);
    // What is left of a failed copy must not be written when the buffer goes.
    let (_, _) = output.into_parts();
    let sync = || match way {
        Way::Together => sys::disk::write_out(file),
        Way::Each => file.sync_all(),
    };
    let synced = copied.and_then(|()| sync().and_then(|()| file.metadata()).map_err(CopyError::Write));
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

/// A file in `tmp/`, removed when it goes out of scope, unless it is there no more.
struct Temporary {
    file: File,
    path: PathBuf,
    has_moved: bool,
}

impl Temporary {
    fn create(path: PathBuf, maildir: &Path, code: &'static str) -> Result<Self, Failure> {
        let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let created = create_in(create, || make_folder(maildir, "tmp/"));
        match created {
            Ok(file) => Ok(Self { file, path, has_moved: false }),
            Err(error) => Err(refused(&path, &error, code)),
        }
    }

    fn move_to(&mut self, new: &Path, maildir: &Path) -> io::Result<()> {
        let make_folders = || {
            // Mail readers want it; this delivery does not.
            let _ = make_folder(maildir, "cur/");
            make_folder(maildir, "new/")
        };
        create_in(|| self.give_name(new), make_folders)
    }

    /// Not over a name that is there: by renaming it, or else by a second name, which is left when the first is removed.
    fn give_name(&mut self, new: &Path) -> io::Result<()> {
        match sys::disk::rename_new(&self.path, new) {
            Ok(()) => self.has_moved = true,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
            {
                fs::hard_link(&self.path, new)?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.has_moved {
            return;
        }
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
