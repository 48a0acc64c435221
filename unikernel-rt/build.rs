//! Puts the linker script where the linker of every image finds it.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=unikernel.ld");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::copy("unikernel.ld", out.join("unikernel.ld")).expect("the linker script can be copied");
    println!("cargo:rustc-link-search={}", out.display());
}
