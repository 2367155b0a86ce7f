//! How a daemon is asked what it would say at its start.
//!
//! `postfix check`, `start` and `reload` start each daemon of master.cf with the command line that master would give it
//! and [`ENVIRONMENT`] set. The daemon reads its parameters, opens its tables and keys, tells on stderr what is wrong and
//! ends. So the very program that will serve judges the configuration, whatever its version. Only a program that holds
//! [`marker`] in its file is asked: Postfix's own daemons know nothing of this and would try to serve.

/// Set to `1` for a daemon that is only asked.
pub const ENVIRONMENT: &str = "POSTERN_PREFLIGHT";

/// The name before each line of the answer.
pub const NAME: &str = "preflight";

/// The line by which a daemon says that it has been asked and has told all; it stands in the files of Postern's daemons,
/// and for that reason not in one piece in this one, which other programs hold too.
pub fn marker() -> String {
    ["Postern's daemons answer when they are asked ", "what they would say at their start"].concat()
}
