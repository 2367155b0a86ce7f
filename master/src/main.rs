//! The resident process: reads master.cf, owns the sockets, preforks the services.

#![forbid(unsafe_code)]

fn main() {
    master::main()
}
