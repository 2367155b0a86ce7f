//! The messages in work.

use std::collections::{HashMap, HashSet};

use ipc::delivery::RequestFlags;
use queue::QueueId;
use scheduler::MessageId;

use crate::message::Message;

/// The messages in work, and how many of them are probes of the verify service.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    by_id: HashMap<MessageId, Message>,
    /// Their names in the queue.
    names: HashSet<QueueId>,
    probes: usize,
}

impl Messages {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether the message of this name is in work, wherever its file is.
    pub(crate) fn has(&self, name: &QueueId) -> bool {
        self.names.contains(name)
    }

    /// How many of them are probes.
    pub(crate) fn probes(&self) -> usize {
        self.probes
    }

    pub(crate) fn get(&self, id: &MessageId) -> Option<&Message> {
        self.by_id.get(id)
    }

    /// For a change, which is not one of the kind of the message.
    pub(crate) fn get_mut(&mut self, id: &MessageId) -> Option<&mut Message> {
        self.by_id.get_mut(id)
    }

    /// Adds a message that is not there.
    pub(crate) fn insert(&mut self, id: MessageId, message: Message) {
        self.probes += usize::from(is_probe(&message));
        self.names.insert(message.id.clone());
        self.by_id.insert(id, message);
    }

    pub(crate) fn remove(&mut self, id: &MessageId) -> Option<Message> {
        let message = self.by_id.remove(id)?;
        self.probes -= usize::from(is_probe(&message));
        self.names.remove(&message.id);
        Some(message)
    }
}

fn is_probe(message: &Message) -> bool {
    message.trace_flags.contains(RequestFlags::MTA_VERIFY)
}
