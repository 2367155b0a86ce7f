//! PLAIN (RFC 4616) and LOGIN: the password itself.

use super::Person;
use super::fault::Fault;

/// PLAIN's only message: who to act as, name, password, with NULs between them.
pub(super) fn plain(person: &mut Person<'_>, message: &[u8]) -> Result<(), Fault> {
    let parts: Vec<_> = message.splitn(4, |&byte| byte == 0).collect();
    let [act_as, name, password] = parts[..] else {
        return Err(Fault::Protocol.because(match parts.len() {
            1 => "Can only find author (no password)",
            2 => "Can only find author/en (no password)",
            _ => "Got more data than we were expecting in the PLAIN plugin?",
        }));
    };
    person.authenticate(name)?;
    person.verify(password).map_err(|fault| fault.because("Password verification failed"))?;
    person.act_as(act_as)
}

/// What LOGIN takes of a name or a password.
const ANSWER_LIMIT: usize = 1024;

/// LOGIN's first answer.
pub(super) fn login_name(name: Vec<u8>) -> Result<Vec<u8>, Fault> {
    if name.len() > ANSWER_LIMIT {
        return Err(Fault::Protocol.because("username too long (>1024 characters)"));
    }
    Ok(name)
}

/// LOGIN, when both answers are there. A NUL ends each.
pub(super) fn login(person: &mut Person<'_>, name: &[u8], password: &[u8]) -> Result<(), Fault> {
    if password.len() > ANSWER_LIMIT {
        return Err(Fault::Protocol.because("clientinlen is > 1024 characters in LOGIN plugin"));
    }
    let known = until_nul(name);
    if let Err(fault) = person.authenticate(known) {
        if known.is_empty() && !name.is_empty() {
            *person.named = Some(Vec::new());
        }
        return Err(fault);
    }
    person.verify(until_nul(password))
}

/// What a C string would be.
pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}
