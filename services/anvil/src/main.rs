//! The anvil service.

#![forbid(unsafe_code)]

fn main() {
    server::multi::<anvil::Anvil>("anvil")
}
