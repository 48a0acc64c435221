//! What must be installed on the workstation, and the command that installs it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The emulator's program name.
pub const QEMU: &str = "qemu-system-x86_64";
/// The compile target of every image.
pub const TARGET: &str = "x86_64-unknown-none";

/// Finds QEMU on the PATH; the error names the package to install.
pub fn qemu() -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join(QEMU)).find(|file| file.is_file());
    found.ok_or_else(|| qemu_missing(&fs::read_to_string("/etc/os-release").unwrap_or_default()))
}

/// The package of every distribution we know, by the `ID` in `/etc/os-release`.
const PACKAGES: [(&str, &str); 7] = [
    ("debian", "apt-get install qemu-system-x86"),
    ("fedora", "dnf install qemu-system-x86-core"),
    ("arch", "pacman -S qemu-system-x86"),
    ("alpine", "apk add qemu-system-x86_64"),
    ("suse", "zypper install qemu-x86"),
    ("nixos", "nix-env -iA nixos.qemu"),
    ("macos", "brew install qemu"),
];

fn qemu_missing(os_release: &str) -> String {
    let known = PACKAGES.iter().filter(|(id, _)| is_like(os_release, id)).map(|(_, command)| *command);
    let known: Vec<_> = known.collect();
    let commands = if known.is_empty() { PACKAGES.map(|(_, command)| command).to_vec() } else { known };
    format!("QEMU is missing: there is no `{QEMU}` on your PATH; install it with `{}`", commands.join("` or `"))
}

/// Derived distributions name their ancestors: Ubuntu has `ID_LIKE=debian`, Rocky `ID_LIKE="rhel centos fedora"`.
fn is_like(os_release: &str, id: &str) -> bool {
    let ids = os_release.lines().filter_map(|line| line.strip_prefix("ID=").or(line.strip_prefix("ID_LIKE=")));
    ids.flat_map(|value| value.trim_matches('"').split([' ', '-'])).any(|word| word == id)
}

/// Checks that rustc has the target's standard library; the error names the command that installs it.
///
/// The folder's existence is the one check that holds with and without rustup.
pub fn rust_target() -> Result<PathBuf, String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    let output = output
        .map_err(|error| format!("cannot start {}: {error}; install Rust from https://rustup.rs", rustc.display()))?;
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if output.status.success() && has_core(&folder) { Ok(folder) } else { Err(target_missing()) }
}

fn has_core(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
}

fn target_missing() -> String {
    format!("the Rust target {TARGET} is not installed; install it with `rustup target add {TARGET}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(os_release: &str, command: &str) {
        let text = qemu_missing(os_release);
        let start = "QEMU is missing: there is no `qemu-system-x86_64` on your PATH; install it with `";
        assert_eq!(text, format!("{start}{command}`"));
    }

    #[test]
    fn qemu_is_called_differently_everywhere() {
        check("NAME=x\nID=debian\n", "apt-get install qemu-system-x86");
        check("ID=ubuntu\nID_LIKE=debian\n", "apt-get install qemu-system-x86");
        check("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "dnf install qemu-system-x86-core");
        check("ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n", "zypper install qemu-x86");
        check("ID=arch\n", "pacman -S qemu-system-x86");
    }

    #[test]
    fn an_unknown_system_gets_all_commands() {
        let text = qemu_missing("");
        assert!(PACKAGES.iter().all(|(_, command)| text.contains(command)), "{text}");
    }

    #[test]
    fn a_folder_without_core_is_no_target() {
        assert!(!has_core(Path::new("/nonexistent")));
        assert!(target_missing().contains("`rustup target add x86_64-unknown-none`"));
    }
}
