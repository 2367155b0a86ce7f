//! DNS block lists and allow lists (spec access 7).
//!
//! A list is asked for an address (`2.0.0.127.LIST`) or a name (`NAME.LIST`). An A record means that it is listed; a
//! pattern says which A records count. What a list said is kept for the process's life, as in Postfix.

pub mod answers;
pub mod check;
pub mod list;
pub mod reply;
