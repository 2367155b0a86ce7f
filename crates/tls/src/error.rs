//! Why there is no session.

use std::io;

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peers cannot agree, or one of them does not speak TLS.
    #[error("{0}")]
    Protocol(String),
    /// The peer has gone.
    #[error("lost connection")]
    Lost,
    /// The socket's error, or that the time is over.
    #[error("{}", sys::error_text(.0))]
    Io(#[from] io::Error),
    /// The settings allow none; the text is a warning.
    #[error("{0}")]
    Settings(String),
}

impl From<rustls::Error> for HandshakeError {
    fn from(error: rustls::Error) -> Self {
        Self::Protocol(error.to_string())
    }
}
