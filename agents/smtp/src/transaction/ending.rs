//! How a transaction ends: with content, and what the server says to it, or without.

use delivery::Status;
use smtp::stream::Error;

use super::fate::Fate;
use super::step::Step;
use super::{End, Transaction};
use crate::content::{self, Trouble};
use crate::details;
use crate::features::Features;
use crate::protocol::Protocol;

const END_OF_DATA: &str = "sending end of data -- message may be sent more than once";

impl Transaction<'_, '_> {
    /// The content, and what the server says to it.
    pub(super) fn content(&mut self) -> Result<(), Status> {
        let first = self.fates.iter().find_map(|fate| match fate {
            Fate::Accepted(recipient) => Some(recipient.clone()),
            _ => None,
        });
        let Some(first) = first else { return Ok(()) };
        self.session.enter(details::Phase::Content);
        self.session.set_content_limit(self.settings.limits.data_xfer);
        let told = &mut self.tally.told_of_long_lines;
        let sent = content::send(self.session, self.settings, self.delivery, &first, self.converts, told);
        match sent.and_then(|()| self.end_content().map_err(Trouble::Connection)) {
            Ok(()) => {}
            Err(Trouble::Connection(error)) => {
                // A server that has had enough may have said why before it went.
                self.session.set_limit(self.settings.limits.data_done);
                let stage = "sending message body";
                let lost = self.session.lost(&error, stage);
                let answer = self.session.read(stage).map_err(|_| lost.clone())?;
                if !matches!(answer.class(), 4 | 5) {
                    return Err(lost);
                }
                self.must_close = true;
                let status = self.session.failure(&answer, "end of DATA");
                self.message_failed(&status);
                return Ok(());
            }
            Err(Trouble::Unreadable { is_damaged }) => {
                self.must_close = true;
                self.message_failed(&Status::new("5.3.0", "unreadable mail queue entry"));
                if is_damaged {
                    self.delivery.mark_corrupt();
                }
                return Ok(());
            }
            Err(Trouble::Checks) => {
                let _ = self.session.flush();
                self.session.blame_table();
                let host = &self.session.names.host;
                return Err(Status::new("4.3.0", format!("local data error while talking to {host}")));
            }
            Err(Trouble::Structure(error)) => {
                self.must_close = true;
                self.message_failed(&Status::new("5.6.0", error.text()));
                return Ok(());
            }
        }
        self.session.enter(details::Phase::EndOfData);
        self.session.set_limit(self.settings.limits.data_done);
        match self.settings.protocol {
            Protocol::Smtp => {
                let answer = self.session.read(END_OF_DATA)?;
                if answer.class() == 2 {
                    let status = answer.success(&self.session.names.host);
                    for recipient in self.take_accepted() {
                        self.sent(&recipient, &status);
                    }
                } else {
                    let status = self.session.failure(&answer, "end of DATA");
                    self.message_failed(&status);
                }
            }
            Protocol::Lmtp => self.hear_each()?,
        }
        Ok(())
    }

    /// LMTP's replies, one for each recipient that was accepted.
    fn hear_each(&mut self) -> Result<(), Status> {
        for place in 0..self.fates.len() {
            if !matches!(self.fates[place], Fate::Accepted(_)) {
                continue;
            }
            let answer = self.session.read(END_OF_DATA)?;
            let Fate::Accepted(recipient) = std::mem::replace(&mut self.fates[place], Fate::Over) else {
                continue;
            };
            if answer.class() == 2 {
                self.sent(&recipient, &answer.success(&self.session.names.host));
            } else {
                let status = self.session.failure(&answer, "end of DATA");
                self.fates[place] = self.recipient_failed(recipient, &status);
            }
        }
        Ok(())
    }

    /// The dot, with QUIT behind it where the server takes that.
    fn end_content(&mut self) -> Result<(), Error> {
        if self.session.delays_dot {
            self.session.flush()?;
            std::thread::sleep(self.settings.pix_delay);
        }
        self.session.write(b".")?;
        self.quit_at_once()?;
        self.session.flush()
    }

    /// Takes leave without waiting for what the server says to the command before, where it takes that.
    pub(super) fn quit_at_once(&mut self) -> Result<(), Error> {
        if self.session.features.contains(Features::PIPELINING) && !self.session.is_to_be_kept() {
            self.session.write(b"QUIT")?;
            self.has_quit = true;
        }
        Ok(())
    }

    /// The server wants content for nobody: it gets an empty message, whose reply is about nothing.
    pub(super) fn nothing(&mut self) -> Result<(), Status> {
        self.session.enter(details::Phase::EndOfData);
        self.session.set_limit(self.settings.limits.data_done);
        self.end_content().map_err(|error| self.session.lost(&error, END_OF_DATA))?;
        self.session.read(END_OF_DATA).map(drop)
    }

    /// What happens here changes nothing for a recipient.
    pub(super) fn reset(&mut self) -> End {
        self.session.set_limit(self.settings.limits.rset);
        let said = self.session.write(b"RSET").and_then(|()| self.quit_at_once());
        if said.is_ok() && self.session.read(Step::Reset.stage()).is_ok() {
            return End::Whole;
        }
        self.must_close = true;
        End::Broken
    }
}
