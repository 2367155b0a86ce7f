//! How it is found out who the client is: by its connection, its name in the DNS, or a load balancer in front.

pub(crate) mod names;
pub(crate) mod peer;
pub(crate) mod upstream;
