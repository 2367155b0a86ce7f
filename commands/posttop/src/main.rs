//! Shows what the mail system does, as it does it.

#![forbid(unsafe_code)]

fn main() {
    posttop::main()
}
