//! Policy delegation: `check_policy_service` asks a server of the administrator's own (spec access 9).
//!
//! The answer is an entry of an access table whose name is the service's text and whose key is `policy query`. A server
//! that cannot be asked counts as if it had answered with `default_action`.

pub mod check;
pub mod connection;
pub mod settings;
