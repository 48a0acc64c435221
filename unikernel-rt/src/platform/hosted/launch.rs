//! What an app's binary does on the workstation: it starts the virtual machine.
//!
//! So plain `cargo run` boots the app and plain `cargo test` runs its hosted tests, without a default target
//! that would make one of the two impossible.

use std::{
    env, format,
    os::unix::process::CommandExt,
    process::{Command, exit},
    string::String,
};

const TARGET: &str = "x86_64-unknown-none";

/// Builds the package for the machine and boots it through cargo's runner; passes the arguments on.
pub(crate) fn launch(manifest_dir: &str, package: &str) -> ! {
    if let Err(problem) = check_target() {
        std::eprintln!("{problem}");
        exit(2);
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let binary = env::current_exe().ok();
    let binary = binary.as_deref().and_then(|path| path.file_stem()).map(|name| name.to_owned());
    let mut command = Command::new(cargo);
    command.current_dir(manifest_dir).args(["run", "--quiet", "--target", TARGET, "--package", package]);
    if let Some(binary) = binary {
        command.arg("--bin").arg(binary);
    }
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    // Cargo takes this process's place, so that whoever ends it ends the machine.
    let error = command.arg("--").args(env::args_os().skip(1)).exec();
    std::eprintln!("cannot start cargo to build the image: {error}; is it on your PATH?");
    exit(2)
}

fn check_target() -> Result<(), String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let found = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    let libdir = found.ok().filter(|out| out.status.success()).and_then(|out| String::from_utf8(out.stdout).ok());
    match libdir {
        // Without rustc there would be no binary to ask; cargo then says what is wrong.
        None => Ok(()),
        Some(libdir) if std::path::Path::new(libdir.trim()).is_dir() => Ok(()),
        Some(_) => {
            Err(format!("the Rust target {TARGET} is not installed; install it with `rustup target add {TARGET}`"))
        }
    }
}
