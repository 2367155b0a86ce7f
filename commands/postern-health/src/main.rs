//! Tells whether the mail system serves.

#![forbid(unsafe_code)]

fn main() {
    postern_health::main()
}
