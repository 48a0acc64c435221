//! Builds the two loaders of disk images, which the tool carries: `loader/uefi` and `loader/bios`.
//!
//! Each is a build of its own, for its own target and in a folder of its own. Where a target is not installed the tool is built
//! without that loader, and says so when it is asked for a disk image.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What a flat file may have: the boot sector reads up to 127 sectors behind itself.
const BIOS_LEN_MAX: u64 = 128 * 512;

fn main() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../loader");
    println!("cargo::rerun-if-changed={}", sources.display());
    println!("cargo::rerun-if-changed=build.rs");
    let uefi = build("unikernel-loader-uefi", "x86_64-unknown-uefi", &["-Clink-arg=/Brepro".into()]);
    let script = sources.join("bios/bios.ld");
    let flat = ["-Crelocation-model=static".into(), link(&format!("-T{}", script.display())), link("--oformat=binary")];
    let bios = build("unikernel-loader-bios", "x86_64-unknown-none", &flat);
    embed("uefi.efi", uefi.map(|folder| folder.join("unikernel-loader-uefi.efi")));
    let bios = bios.map(|folder| folder.join("unikernel-loader-bios"));
    if let Some(file) = &bios {
        let len = fs::metadata(file).expect("cargo built it").len();
        assert!(len <= BIOS_LEN_MAX, "the loader for a BIOS has {len} bytes; {BIOS_LEN_MAX} is the most");
    }
    embed("bios.bin", bios);
}

fn link(argument: &str) -> String {
    format!("-Clink-arg={argument}")
}

fn out_folder() -> PathBuf {
    env::var_os("OUT_DIR").expect("cargo sets it").into()
}

/// The folder of the finished loader; `None` where its target is not installed.
fn build(package: &str, target: &str, flags: &[String]) -> Option<PathBuf> {
    let rustc = env::var_os("RUSTC").expect("cargo sets it");
    let libraries = Command::new(rustc).args(["--print", "target-libdir", "--target", target]).output();
    let libraries = PathBuf::from(String::from_utf8_lossy(&libraries.expect("rustc starts").stdout).trim());
    // A folder that is not there yet is looked for again by the next build.
    println!("cargo::rerun-if-changed={}", libraries.display());
    if !libraries.is_dir() {
        println!("cargo::warning=disk images cannot be made: run `rustup target add {target}` and build again");
        return None;
    }
    let folder = out_folder().join("loader");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets it"));
    cargo.current_dir(&workspace).args(["build", "--quiet", "--release", "--package", package, "--target", target]);
    cargo.arg("--target-dir").arg(&folder);
    // What was asked for of the tool is not meant for the loader.
    for variable in ["RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET", "CLIPPY_ARGS"] {
        cargo.env_remove(variable);
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", all_flags(&workspace, flags).join("\x1f"));
    for (setting, value) in [("DEBUG", "false"), ("STRIP", "symbols"), ("OPT_LEVEL", "s"), ("PANIC", "abort")] {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{setting}"), value);
    }
    assert!(cargo.status().expect("cargo starts").success(), "{package} does not build, see above");
    Some(folder.join(target).join("release"))
}

/// Without the places of this machine, so that the loader is the same wherever it was built.
fn all_flags(workspace: &Path, flags: &[String]) -> Vec<String> {
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let mut all = flags.to_vec();
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    all.extend(home.map(|home| remap(&home, "cargo")));
    let workspace = fs::canonicalize(workspace).expect("the workspace is there");
    all.push(remap(&workspace, "unikernel"));
    all
}

/// Puts the file, or an empty one, where the tool includes it from.
fn embed(name: &str, file: Option<PathBuf>) {
    let bytes = file.map(|file| fs::read(file).expect("cargo built it")).unwrap_or_default();
    fs::write(out_folder().join(name), bytes).expect("the folder can be written");
}
