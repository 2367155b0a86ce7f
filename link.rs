//! The build script of the programs that are started anew again and again: for each hundredth client, or for each message.
//!
//! Much of such a start is the dynamic linker's, which puts right some ten thousand addresses in a program that may be loaded
//! anywhere. Packed, they are a tenth of the size, and cost it a third. The C library can read them since 2.36 (Debian 12); an
//! older one would refuse the program.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=TARGET");
    let is = |variable: &str, value: &str| env::var(variable).is_ok_and(|found| found == value);
    let is_native = env::var("HOST") == env::var("TARGET");
    if is_native && is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") && reads_packed()
    {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether the C library that programs are linked with reads packed relocations.
fn reads_packed() -> bool {
    let Ok(output) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else { return false };
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.trim().strip_prefix("glibc ").and_then(|version| version.split_once('.'));
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    version.is_some_and(|(major, minor)| (number(major), number(minor)) >= (2, 36))
}
