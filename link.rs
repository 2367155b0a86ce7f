//! The build script of the programs that are started anew again and again: for each hundredth client, or for each message.
//!
//! Much of such a start is the dynamic linker's, which puts right some ten thousand addresses in a program that may be loaded
//! anywhere. Packed, they are a tenth of the size, and cost it a third. The C library can read them since 2.36 (Debian 12); an
//! older one would refuse the program.
//!
//! Each shared library is another file to be found, mapped and bound. That with the code for panics, libgcc_s, comes as an
//! archive with every compiler too.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=TARGET");
    let is = |variable: &str, value: &str| env::var(variable).is_ok_and(|found| found == value);
    let is_native = env::var("HOST") == env::var("TARGET");
    if !(is_native && is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu")) {
        return;
    }
    if reads_packed() {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    match unwinder(&out) {
        Ok(folder) => println!("cargo::rustc-link-search=native={}", folder.display()),
        // The shared one does as well.
        Err(_) => println!("no archive with the code for panics"),
    }
}

/// A folder in which `-lgcc_s` finds an archive.
fn unwinder(out: &Path) -> io::Result<PathBuf> {
    let output = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output()?;
    let archive = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if !archive.is_absolute() || !archive.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let folder = out.join("unwinder");
    fs::create_dir_all(&folder)?;
    let name = folder.join("libgcc_s.a");
    let _ = fs::remove_file(&name);
    symlink(archive, name)?;
    Ok(folder)
}

/// Whether the C library that programs are linked with reads packed relocations.
fn reads_packed() -> bool {
    let Ok(output) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else { return false };
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.trim().strip_prefix("glibc ").and_then(|version| version.split_once('.'));
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    version.is_some_and(|(major, minor)| (number(major), number(minor)) >= (2, 36))
}
