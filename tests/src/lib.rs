//! The conformance suite: the same tests against Postfix, Postern, and mixtures.

#![forbid(unsafe_code)]
