//! Checks for the programs that are started, before an hour is spent on building.

use std::process::Command;

use crate::{Result, error};

/// Program and Debian package.
const NEEDED: &[(&str, &str)] =
    &[("qemu-system-x86_64", "qemu-system-x86"), ("ip", "iproute2"), ("unshare", "util-linux")];

/// Makers of disk images.
const FOR_DISKS: &[(&str, &str)] = &[("mkfs.erofs", "erofs-utils"), ("mke2fs", "e2fsprogs")];

/// QEMU 9 replaced the plugin interface that the counter is written for.
const QEMU_MAJOR_MAX: u32 = 8;

/// Fails with what has to be installed, `with_disks` or without.
pub fn check(with_disks: bool) -> Result {
    let missing = |program: &str| Command::new(program).arg("--version").output().is_err();
    let needed = NEEDED.iter().chain(if with_disks { FOR_DISKS } else { &[] });
    let packages: Vec<&str> = needed.filter(|(program, _)| missing(program)).map(|(_, package)| *package).collect();
    if !packages.is_empty() {
        return Err(error(format!("programs are missing; run: apt-get install {}", packages.join(" "))));
    }
    let version = Command::new("qemu-system-x86_64").arg("--version").output()?;
    check_qemu(&String::from_utf8_lossy(&version.stdout))
}

fn check_qemu(version: &str) -> Result {
    let major: Option<u32> = version.split("version ").nth(1).and_then(|rest| rest.split('.').next()?.parse().ok());
    match major {
        Some(major) if major > QEMU_MAJOR_MAX => Err(error(format!(
            "this is QEMU {major}, whose plugin interface insn-plugin does not speak yet; use QEMU 4.2 to 8.2"
        ))),
        // A version nobody can read is tried: QEMU refuses plugins it cannot load by itself.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: &str, want: bool) {
        assert_eq!(check_qemu(version).is_ok(), want);
    }

    #[test]
    fn debian_12() {
        check("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright", true);
    }

    #[test]
    fn debian_13() {
        check("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)", false);
    }

    #[test]
    fn unreadable() {
        check("something else", true);
    }
}
