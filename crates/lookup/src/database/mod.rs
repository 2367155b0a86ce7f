//! Tables of database clients: what they have in common (spec tables 14), and SQLite.
//!
//! A table is configured by a file in main.cf's form, `type:/etc/postfix/some.cf`, or, in the old way, by parameters of
//! main.cf itself: with `type:some`, the parameter `query` is main.cf's `some_query`. A key becomes a query, and each
//! value of the answer a part of the result, by way of a [`template`].

mod parameters;
mod sqlite;
mod template;

use parameters::Parameters;
pub(crate) use sqlite::Sqlite;
use template::{Address, Template};
