//! Changing master.cf.

use config::ConfigDir;

use crate::Stop;
use crate::options::{Edit, Mode};

/// Changes master.cf.
///
/// # Errors
/// Always, for the time being.
pub fn edit(_: &ConfigDir, _: Mode, _: Edit, _: &[Vec<u8>]) -> Result<(), Stop> {
    Err(Stop::fatal("changing master.cf with -M, -F or -P is not supported; edit the file"))
}
