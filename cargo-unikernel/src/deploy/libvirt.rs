//! A domain of libvirt, for `virsh define` (<https://libvirt.org/formatdomain.html>).

use std::{fmt::Write, path::Path};

use anyhow::{Result, bail};

use super::Plan;
use crate::boot_disk::Format;

/// The domain.
pub(super) fn domain(plan: &Plan) -> Result<String> {
    let mut xml = String::from("<domain type='kvm'>\n");
    let name = escaped(&plan.name);
    let _ = writeln!(xml, "  <name>{name}</name>\n  <memory unit='MiB'>{}</memory>\n  <vcpu>1</vcpu>", plan.memory_mib);
    let boot_disk = boot(plan, &mut xml)?;
    xml.push_str(MACHINE);
    let own = boot_disk.map(|format| disk(&plan.image, format, 'a', None, false));
    let first = u8::from(own.is_some());
    let others = plan.disks.iter().zip(b'a' + first..=b'z');
    let others = others.map(|(one, letter)| disk(&one.path, "raw", letter.into(), Some(&one.name), one.is_read_only));
    own.into_iter().chain(others).for_each(|disk| xml.push_str(&disk));
    if plan.has_network {
        let mac = plan.mac();
        let _ = writeln!(
            xml,
            "    <interface type='network'>\n      <mac address='{mac}'/>\n      <source network='default'/>\n      \
             <model type='virtio'/>\n    </interface>"
        );
    }
    xml.push_str(DEVICES);
    Ok(xml)
}

/// One CPU of the host's kind; the end of the machine is the end, and a crash starts it again.
const MACHINE: &str = "  <features>
    <acpi/>
  </features>
  <cpu mode='host-passthrough'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>restart</on_crash>
  <devices>
";

const DEVICES: &str = "    <serial type='pty'/>
    <console type='pty'/>
    <rng model='virtio'>
      <backend model='random'>/dev/urandom</backend>
    </rng>
    <memballoon model='none'/>
  </devices>
</domain>
";

/// What is started; the format of the disk, if it is one.
fn boot(plan: &Plan, xml: &mut String) -> Result<Option<&'static str>> {
    let kernel = match plan.format {
        Format::Elf => {
            let arguments = escaped(&plan.arguments.join(" "));
            let line =
                if arguments.is_empty() { String::new() } else { format!("    <cmdline>{arguments}</cmdline>\n") };
            format!("    <kernel>{}</kernel>\n{line}", escaped(&plan.image.to_string_lossy()))
        }
        _ => "    <boot dev='hd'/>\n".into(),
    };
    let _ = write!(xml, "  <os>\n    <type arch='x86_64' machine='q35'>hvm</type>\n{kernel}  </os>\n");
    Ok(match plan.format {
        Format::Elf => None,
        Format::Raw => Some("raw"),
        Format::Qcow2 => Some("qcow2"),
        Format::Vmdk => Some("vmdk"),
        Format::Vhd => Some("vpc"),
        Format::Vhdx | Format::Gce | Format::Oci => {
            bail!("libvirt takes no {} image; make one with `--format elf`, `raw` or `qcow2`", plan.format)
        }
    })
}

fn disk(path: &Path, format: &str, letter: char, serial: Option<&str>, is_read_only: bool) -> String {
    let path = escaped(&path.to_string_lossy());
    let read_only = if is_read_only { "      <readonly/>\n" } else { "" };
    let serial = serial.map(|serial| format!("      <serial>{}</serial>\n", escaped(serial))).unwrap_or_default();
    format!(
        "    <disk type='file' device='disk'>\n      <driver name='qemu' type='{format}' discard='unmap'/>\n      \
         <source file='{path}'/>\n      <target dev='vd{letter}' bus='virtio'/>\n{read_only}{serial}    </disk>\n"
    )
}

/// Text within XML, and within its quotes.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&apos;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}
