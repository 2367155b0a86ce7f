//! The parameters of TLS that several programs have, each with a prefix of its own: `smtpd_tls_CAfile`, `smtp_tls_CAfile`,
//! `lmtp_tls_CAfile`.
//!
//! [`Parameters`] reads those of one prefix: keys and certificates, protocols and ciphers, what is logged; and what is
//! the same for all (`tls_high_cipherlist` and the like). What only one program has, such as the level of security, is
//! read there. What the TLS of this system cannot do is told by [`Parameters::unhonoured`]: a warning, or an error where
//! leaving it out would be less safe than what was asked for. Source: spec tls-sasl 1, 2, 8.1 and 11.

#![forbid(unsafe_code)]

mod log_level;
mod parameters;
mod unhonoured;

pub use log_level::LogLevel;
pub use parameters::{Grade, Parameters};
