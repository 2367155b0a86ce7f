//! Commands (spec local-delivery 12).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use delivery::{Call, Command, Parts, Ran};
use ipc::delivery::Completion;

use crate::attributes::Attributes;
use crate::expansion::Expansion;
use crate::params::Copied;

impl Expansion<'_> {
    /// Delivers to a command that a list has, if that may have any.
    pub(crate) fn listed_command(&self, at: &Attributes, command: &[u8]) -> Completion {
        if at.list.is_none_or(|list| !self.params().commands_in.contains(&list)) {
            // Unlike that of a file, this failure is not told to the owner of the list (observed, 3.7.11).
            return self.undelivered(at, "5.7.1", "mail to command is restricted");
        }
        self.command(at, command)
    }

    /// Delivers to a command.
    pub(crate) fn command(&self, at: &Attributes, command: &[u8]) -> Completion {
        let at = at.deeper();
        let ids = self.ids(&at);
        // Whom the list is of is part of it: two aliases may run the same command (observed, 3.7.11).
        if self.meets("command", &[&at.localpart.user, ids.uid.to_string().as_bytes(), command]) {
            return Completion::All;
        }
        if self.delivery.is_probe() {
            return self.sent(&at, [b"delivers to command: ", command].concat());
        }
        let directory = match self.directory(&at) {
            Ok(directory) => directory,
            Err(completion) => return completion,
        };
        let directory = directory.as_ref().map(|path| Path::new(OsStr::from_bytes(path)));
        let form =
            self.form(&at, Parts::FROM_LINE | Parts::RETURN_PATH | Parts::ORIGINAL_TO, Copied::Command);
        let variables = self.variables(&at);
        let request = Command {
            call: Call::Line { command, shell: &self.params().command_shell },
            ids,
            root: None,
            directory,
            variables: &variables,
            time_limit: self.params().command_time_limit,
        };
        match self.local.commands.run(&request, self.delivery, &form) {
            Ran::Well(_) => self.sent(&at, [b"delivered to command: ", command].concat()),
            Ran::Failed(status) => self.bounced_by_owner(&at, &status),
            Ran::Corrupt => Completion::Deferred,
        }
    }

    /// The working directory of commands; nothing for the queue directory.
    fn directory(&self, at: &Attributes) -> Result<Option<Vec<u8>>, Completion> {
        let params = self.params();
        if params.command_directory.is_empty() {
            return Ok(None);
        }
        let values = at.values(params.delimiter.set.first().copied());
        match values.expand(&params.command_directory, Some(&params.directory_filter)) {
            Ok(expanded) => Ok((!expanded.text.is_empty()).then_some(expanded.text)),
            Err(faults) => {
                faults.iter().for_each(|fault| log::warn!("{fault}"));
                let text = maillog::shown(&params.command_directory).to_string();
                log::warn!("bad parameter value syntax for command_execution_directory: {text}");
                Err(self.undelivered(at, "4.3.5", "mail system configuration error"))
            }
        }
    }

    /// What a command is told of the message.
    fn variables<'v>(&self, at: &'v Attributes) -> Vec<(&'v str, Vec<u8>)> {
        let request = self.delivery.request();
        let (origin, name) = (&request.origin, &at.localpart);
        let user = at.user.as_ref();
        let path = |path: &std::path::PathBuf| path.as_os_str().as_bytes().to_vec();
        let some = |value: &[u8]| (!value.is_empty()).then(|| value.to_vec());
        let envelope_id = if self.params().tells_envelope_id { some(&at.envelope_id) } else { None };
        let original = if self.params().original_recipient { some(&at.recipient.original) } else { None };
        [
            ("HOME", user.map(|user| path(&user.home))),
            ("SHELL", user.map(|user| path(&user.shell))),
            ("LOGNAME", Some(name.user.clone())),
            ("USER", Some(name.user.clone())),
            ("SENDER", Some(at.sender.clone())),
            ("RECIPIENT", Some(at.recipient.address.clone())),
            ("LOCAL", Some(name.whole.clone())),
            ("DOMAIN", name.domain.clone()),
            ("EXTENSION", name.extension.clone()),
            ("ORIGINAL_RECIPIENT", original),
            ("ENVID", envelope_id),
            ("CLIENT_HOSTNAME", some(&origin.client_name)),
            ("CLIENT_ADDRESS", some(&origin.client_address)),
            ("CLIENT_HELO", some(&origin.helo_name)),
            ("CLIENT_PROTOCOL", some(&origin.protocol_name)),
            ("SASL_METHOD", some(&origin.sasl_method)),
            ("SASL_SENDER", some(&origin.sasl_sender)),
            ("SASL_USERNAME", some(&origin.sasl_username)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, self.harmless(value?))))
        .collect()
    }

    /// A value without bytes that a command may take for something else.
    fn harmless(&self, mut value: Vec<u8>) -> Vec<u8> {
        let allowed = &self.params().command_filter;
        value.iter_mut().filter(|byte| !allowed.contains(byte)).for_each(|byte| *byte = b'_');
        value
    }
}
