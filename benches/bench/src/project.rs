//! The project's folders, and what has to be built before anything is measured.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::vm::{Guest, Machine};
use crate::{Result, error};

const BARE: &str = "x86_64-unknown-none";

/// A static address, as the Linux guest has, and a router, or answers to a flood would not leave.
pub const ARGUMENTS: &str = "ip=10.77.0.2/24 gw=10.77.0.1";

/// A way to build `bench-site`, for comparison only.
pub struct Variant {
    name: &'static str,
    arguments: &'static [&'static str],
}

impl Variant {
    /// The boot argument `unprotected` turns protections off.
    pub const UNPROTECTED: Variant =
        Variant { name: "bench-site-unprotected", arguments: &["--features", "unprotected"] };
    /// The same, and arithmetic wraps.
    pub const UNCHECKED: Variant = Variant {
        name: "bench-site-unchecked",
        arguments: &["--features", "unprotected", "--config", "profile.release.overflow-checks=false"],
    };
}

/// Where things are.
pub struct Project {
    /// The workspace.
    pub root: PathBuf,
    /// Cargo's target folder, as used for this program.
    target: PathBuf,
    /// Where downloads stay between runs.
    pub cache: PathBuf,
}

impl Project {
    /// Finds the folders. The program must run from cargo's target folder.
    pub fn find() -> Result<Project> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
        let program = env::current_exe()?;
        let target = program.ancestors().nth(2).ok_or_else(|| error("run me with cargo"))?;
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".cache")));
        let cache = cache.unwrap_or_else(env::temp_dir).join("unikernel-bench");
        fs::create_dir_all(&cache)?;
        Ok(Project { root, target: target.to_owned(), cache })
    }

    /// Builds the counter for QEMU.
    pub fn build_plugin(&self) -> Result {
        self.cargo(&["--package", "insn-plugin"])
    }

    /// Builds the program that takes uploads in the Linux guest.
    pub fn build_upload_sink(&self) -> Result {
        self.build_for_linux(&["--package", "upload-sink"])
    }

    /// Builds the program that works on the Linux guest's disk.
    pub fn build_disk_linux(&self) -> Result {
        self.build_for_linux(&["--package", "disk-linux", "--features", "sqlite"])
    }

    /// Without shared libraries, since Debian's in the guest may be older than this machine's.
    fn build_for_linux(&self, package: &[&str]) -> Result {
        let link = ["--", "-C", "target-feature=+crt-static", "-C", "strip=symbols"];
        self.run_cargo("rustc", &[package, &link].concat())
    }

    /// A program for the Linux guest.
    pub fn program(&self, package: &str) -> PathBuf {
        self.target.join("release").join(package)
    }

    /// The folder with the certificate that both sides serve, and its key.
    pub fn certificates(&self) -> PathBuf {
        self.root.join("benches/bench-site/tls")
    }

    /// Builds images. One at a time, since features of one must not reach another.
    pub fn build_images(&self, packages: &[&str]) -> Result {
        packages.iter().try_for_each(|package| self.cargo(&["--package", package, "--bin", package, "--target", BARE]))
    }

    /// Builds the variants of `bench-site`, and then it as it is: all have one name in cargo's folder.
    pub fn build_variants(&self) -> Result {
        for variant in [Variant::UNPROTECTED, Variant::UNCHECKED] {
            let arguments = ["--package", "bench-site", "--bin", "bench-site", "--target", BARE];
            self.cargo(&[&arguments[..], variant.arguments].concat())?;
            fs::copy(self.image("bench-site"), self.variant(&variant))?;
        }
        self.build_images(&["bench-site"])
    }

    /// The image of a variant.
    pub fn variant(&self, variant: &Variant) -> PathBuf {
        self.image(variant.name)
    }

    /// The counter for QEMU.
    pub fn plugin(&self) -> PathBuf {
        self.target.join("release/libinsn_plugin.so")
    }

    /// The image of a package.
    pub fn image(&self, package: &str) -> PathBuf {
        self.target.join(BARE).join("release").join(package)
    }

    /// One of our images with a static address, in the machine the table speaks of.
    pub fn guest(&self, kernel: &Path, port: u16) -> Guest {
        Guest {
            kernel: kernel.to_owned(),
            initrd: None,
            disk: None,
            arguments: ARGUMENTS.into(),
            machine: Machine::Q35,
            memory_mib: 256,
            port,
        }
    }

    fn cargo(&self, arguments: &[&str]) -> Result {
        self.run_cargo("build", arguments)
    }

    /// One of cargo's subcommands that build, with these arguments after those that all have.
    fn run_cargo(&self, subcommand: &str, arguments: &[&str]) -> Result {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args([subcommand, "--release", "--quiet", "--target-dir"]).arg(&self.target);
        let status = command.args(arguments).current_dir(&self.root).status()?;
        if status.success() {
            return Ok(());
        }
        Err(error(format!("cargo {subcommand} --release {} failed", arguments.join(" "))))
    }
}
