//! SMTP's vocabulary for both sides: commands, replies, status codes, ESMTP parameters, the client conversation.

#![forbid(unsafe_code)]
