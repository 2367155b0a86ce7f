//! Starts, stops and checks the mail system.

#![forbid(unsafe_code)]

fn main() {
    postfix::main()
}
