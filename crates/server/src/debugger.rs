//! `-D`: runs `debugger_command` beside this process.

use std::process::Command;

use config::Config;

use crate::start::Fatal;

/// Runs the command and waits for it; it is expected to put the debugger itself in the background.
pub(crate) fn run(config: &Config) -> Result<(), Fatal> {
    let command = config.text("debugger_command")?;
    if command.is_empty() {
        return Err(Fatal::new("no debugger_command variable set up"));
    }
    log::info!("running: {command}");
    match Command::new("/bin/sh").arg("-c").arg(&command).status() {
        Ok(status) => {
            log::debug!("debugger command: {status}");
            Ok(())
        }
        Err(error) => Err(Fatal::new(format!("{command}: {}", sys::error_text(&error)))),
    }
}
