//! The SMTP server, before and after the content filter.

#![forbid(unsafe_code)]

fn main() {
    server::single::<smtpd::service::Smtpd>("smtpd");
}
