//! A command line for cloud-hypervisor (its `docs/`, and `cloud-hypervisor --help`).

use std::ffi::OsString;

use anyhow::{Result, bail};

use super::Plan;
use crate::{boot_disk::Format, qemu};

const PROGRAM: &str = "cloud-hypervisor";
/// The firmware for disks: the project's build of OVMF, which it offers as this file.
const FIRMWARE: &str = "CLOUDHV.fd";

/// The command, with a line for each option.
pub(super) fn command(plan: &Plan) -> Result<String> {
    let image = plan.image.display();
    let mut options: Vec<(&str, String)> = Vec::new();
    match plan.format {
        Format::Elf => {
            options.push(("--kernel", image.to_string()));
            if !plan.arguments.is_empty() {
                options.push(("--cmdline", plan.arguments.join(" ")));
            }
        }
        Format::Raw | Format::Qcow2 | Format::Vhd | Format::Vhdx => {
            options.push(("--firmware", FIRMWARE.into()));
            options.push(("--disk", format!("path={}", quoted(&image.to_string()))));
        }
        other => bail!("cloud-hypervisor takes no {other} image; make one with `--format elf` or `--format raw`"),
    }
    for disk in &plan.disks {
        let access = if disk.is_read_only { ",readonly=on" } else { "" };
        options.push(("--disk", format!("path={},serial={}{access}", quoted(&disk.path.to_string_lossy()), disk.name)));
    }
    options.push(("--cpus", "boot=1".into()));
    options.push(("--memory", format!("size={}M", plan.memory_mib)));
    if plan.has_network {
        options.push(("--net", format!("tap={},mac={}", plan.tap, plan.mac())));
    }
    options.extend([("--serial", "tty".into()), ("--console", "off".into())]);
    let line = |(option, value)| {
        let option: &str = option;
        qemu::shell_line(option, &[OsString::from(value)])
    };
    let lines: Vec<String> = options.into_iter().map(line).collect();
    Ok(format!("{PROGRAM} \\\n    {}\n", lines.join(" \\\n    ")))
}

/// Commas end a value, but for those in quotes.
fn quoted(value: &str) -> String {
    if value.contains(',') { format!("\"{value}\"") } else { value.to_owned() }
}
