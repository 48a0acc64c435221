//! `cargo unikernel doctor`: everything an app needs, and the fix for what is missing.

use std::process::Command;

use anyhow::Result;

use crate::{
    accel,
    fs::{print, unless_unheard},
    install,
};

/// Prints one line for each requirement. The exit code is 1 if an app could not be built or run.
pub fn run() -> Result<u8> {
    unless_unheard(check())
}

fn check() -> Result<u8> {
    let needed = [("QEMU", qemu_version()), ("Rust target", install::rust_target().map(|_| install::TARGET.into()))];
    let mut healthy = true;
    for (name, state) in needed {
        healthy &= state.is_ok();
        print(&line(name, "missing", &state))?;
    }
    // Without KVM everything works, only slower.
    print(&line("KVM", "not used", &accel::kvm().map(|()| "usable".into())))?;
    Ok(if healthy { 0 } else { 1 })
}

fn line(name: &str, word: &str, state: &Result<String, String>) -> String {
    match state {
        Ok(detail) => format!("ok        {name}: {detail}"),
        Err(fix) => format!("{word:<9} {name}: {fix}"),
    }
}

fn qemu_version() -> Result<String, String> {
    let program = install::qemu()?;
    let output = Command::new(&program).arg("--version").output();
    let output = output.map_err(|error| format!("{} does not start: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or("of unknown version").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_state_and_fix() {
        assert_eq!(line("QEMU", "missing", &Ok("7.2".into())), "ok        QEMU: 7.2");
        assert_eq!(line("KVM", "not used", &Err("do this".into())), "not used  KVM: do this");
    }
}
