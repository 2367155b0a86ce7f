//! Queue IDs, records, queue files and queue directories.

#![forbid(unsafe_code)]

mod id;
mod name;
mod reader;
mod record;
mod writer;

pub use id::{InvalidQueueId, QueueId, is_valid};
pub use name::{Hashing, QueueName, UnknownQueue};
pub use reader::{RecordError, RecordReader};
pub use record::{MAX_RECORD_LENGTH, Record, RecordType};
pub use writer::RecordWriter;
