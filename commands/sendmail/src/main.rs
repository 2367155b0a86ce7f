//! The sendmail command; also mailq and newaliases, by the name it is started with.

#![forbid(unsafe_code)]

fn main() {
    sendmail::run();
}
