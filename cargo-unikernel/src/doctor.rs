//! `cargo unikernel doctor`: everything an app needs, and the fix for what is missing.

use std::process::Command;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{
    accel,
    boot_disk::{check_loaders, check_qemu_img},
    debug::check_gdb,
    firmware::Bios,
    fs::{print, unless_unheard},
    install,
    instance::view,
    net,
};

/// How what was found is shown.
#[derive(clap::Args)]
pub struct Arguments {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Something that an app needs, or that some commands do.
#[derive(Debug, PartialEq, Serialize)]
struct Finding {
    name: &'static str,
    state: State,
    /// What was found, or what to do.
    detail: String,
    /// What it is for, where apps are built and run without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    only_for: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Ok,
    Missing,
    NotUsed,
}

/// Prints one line for each requirement. The exit code is 1 if an app could not be built or run.
pub fn run(arguments: Arguments) -> Result<u8> {
    unless_unheard(check(arguments.json))
}

fn check(json: bool) -> Result<u8> {
    let findings = findings();
    if json {
        print(&view::json(&findings))?;
    } else {
        findings.iter().try_for_each(|finding| print(&finding.line()))?;
    }
    Ok(if findings.iter().all(Finding::lets_apps_run) { 0 } else { 1 })
}

fn findings() -> Vec<Finding> {
    let needed = |name, found| Finding::new(name, State::Missing, found, None);
    // Without any of these the other commands work.
    let useful = |name, only_for, found: Result<()>| {
        let found = found.map(|()| "usable".into()).map_err(|error| format!("{error:#}"));
        Finding::new(name, State::NotUsed, found, Some(only_for))
    };
    vec![
        needed("QEMU", qemu_version()),
        needed("Rust target", install::rust_target().map(|_| install::TARGET.into())),
        useful("KVM", "speed", accel::kvm().map_err(anyhow::Error::msg)),
        useful("boot loaders", "image create -f raw, qcow2, vmdk, vhd, vhdx, gce, oci", check_loaders()),
        useful("qemu-img", "image create -f qcow2, vmdk, vhd, vhdx, oci", check_qemu_img()),
        useful("UEFI for QEMU", "starting disks by UEFI here", Bios::Ovmf.arguments().map(drop)),
        useful("gdb", "debug", check_gdb()),
        useful("network devices", "--net tap, bridge without `net up`", net::may_make_devices()),
    ]
}

impl Finding {
    fn new(
        name: &'static str,
        otherwise: State,
        found: Result<String, String>,
        only_for: Option<&'static str>,
    ) -> Finding {
        let (state, detail) = match found {
            Ok(detail) => (State::Ok, detail),
            Err(fix) => (otherwise, fix),
        };
        Finding { name, state, detail, only_for }
    }

    fn lets_apps_run(&self) -> bool {
        self.state != State::Missing
    }

    fn line(&self) -> String {
        let Finding { name, state, detail, only_for } = self;
        match (state, only_for) {
            (State::Ok, _) => format!("ok        {name}: {detail}"),
            (State::Missing, _) => format!("missing   {name}: {detail}"),
            (State::NotUsed, None) => format!("not used  {name}: {detail}"),
            (State::NotUsed, Some(only_for)) => format!("not used  {name} (for {only_for}): {detail}"),
        }
    }
}

fn qemu_version() -> Result<String, String> {
    let program = install::qemu()?;
    let version = || {
        let output = Command::new(&program).arg("--version").output();
        let output = output.with_context(|| format!("{} does not start", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        anyhow::Ok(text.lines().next().unwrap_or("of unknown version").to_owned())
    };
    version().map_err(|error| format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_state_and_fix() {
        let check = |state, found: Result<&str, &str>, only_for, expected: &str, runs: bool| {
            let found = found.map(str::to_owned).map_err(str::to_owned);
            let finding = Finding::new("QEMU", state, found, only_for);
            assert_eq!((finding.line().as_str(), finding.lets_apps_run()), (expected, runs));
        };
        check(State::Missing, Ok("7.2"), None, "ok        QEMU: 7.2", true);
        check(State::Missing, Err("do this"), None, "missing   QEMU: do this", false);
        check(State::NotUsed, Err("do this"), Some("debug"), "not used  QEMU (for debug): do this", true);
        check(State::NotUsed, Ok("7.2"), Some("debug"), "ok        QEMU: 7.2", true);
    }

    #[test]
    fn programs_read_the_same() {
        let finding = Finding::new("gdb", State::NotUsed, Err("do this".into()), Some("debug"));
        let expected =
            serde_json::json!({ "name": "gdb", "state": "not-used", "detail": "do this", "only_for": "debug" });
        assert_eq!(serde_json::to_value(&finding).unwrap(), expected);
    }
}
