//! TLS behind a small face of our own: certificates, protocols and ciphers as main.cf names them, on rustls.
//!
//! A handshake leaves an [`Established`]: what was agreed on, in the names that OpenSSL has for it, because these are
//! what log readers, headers and policy servers know:
//!
//! ```
//! use tls::{Established, Strength};
//! let session = Established {
//!     protocol: "TLSv1.2",
//!     cipher: "ECDHE-RSA-AES256-GCM-SHA384",
//!     strength: Strength { used: 256, algorithm: 256 },
//!     ..Established::default()
//! };
//! assert_eq!(session.summary(), "TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)");
//! ```

#![forbid(unsafe_code)]

mod established;

pub use established::{ClientCertificate, Established, Signature, Strength, Trust};
