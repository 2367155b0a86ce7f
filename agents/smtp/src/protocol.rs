//! SMTP or LMTP, by the program's name, and the names of parameters.

use std::ffi::OsStr;
use std::path::Path;

use server::Fatal;

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Smtp,
    Lmtp,
}

impl Protocol {
    pub(crate) fn of_program() -> Result<Self, Fatal> {
        let program = std::env::args_os().next().unwrap_or_default();
        let name =
            Path::new(&program).file_name().unwrap_or(OsStr::new("smtp")).to_string_lossy().into_owned();
        match &*name {
            "smtp" => Ok(Self::Smtp),
            "lmtp" => Ok(Self::Lmtp),
            _ => {
                Err(Fatal::new(format!("unexpected process name \"{name}\" - specify \"smtp\" or \"lmtp\"")))
            }
        }
    }

    /// How the names of its parameters begin.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Lmtp => "lmtp",
        }
    }

    /// The name of a parameter whose name in the family of SMTP is this.
    pub(crate) fn parameter(self, name: &str) -> String {
        match (self, name) {
            (Self::Smtp, _) => name.to_owned(),
            (Self::Lmtp, "smtp_helo_name") => "lmtp_lhlo_name".to_owned(),
            (Self::Lmtp, "smtp_helo_timeout") => "lmtp_lhlo_timeout".to_owned(),
            (Self::Lmtp, "smtp_discard_ehlo_keywords") => "lmtp_discard_lhlo_keywords".to_owned(),
            (Self::Lmtp, "smtp_discard_ehlo_keyword_address_maps") => {
                "lmtp_discard_lhlo_keyword_address_maps".to_owned()
            }
            (Self::Lmtp, _) => name.replacen("smtp_", "lmtp_", 1),
        }
    }
}
