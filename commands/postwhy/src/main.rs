//! Tells why the SMTP server accepts or refuses a client.

#![forbid(unsafe_code)]

fn main() {
    postwhy::main()
}
