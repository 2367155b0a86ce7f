//! Writes queue files: envelope and header processing.

#![forbid(unsafe_code)]

fn main() {
    cleanup::main()
}
