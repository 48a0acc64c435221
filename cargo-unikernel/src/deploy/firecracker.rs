//! A configuration file for Firecracker (`firecracker --config-file`, its `src/firecracker/swagger/firecracker.yaml`).

use anyhow::{Result, ensure};
use serde_json::json;

use super::Plan;
use crate::boot_disk::Format;

/// The file. Firecracker enters a kernel, with devices on the command line by itself.
pub(super) fn config(plan: &Plan) -> Result<String> {
    ensure!(
        plan.format == Format::Elf,
        "Firecracker starts kernels, not disks; make one with `cargo unikernel image create --format elf`"
    );
    let drive = |disk: &super::Disk| {
        json!({
            // Of letters, digits and `_` only.
            "drive_id": disk.name.replace(['-', '.'], "_"),
            "path_on_host": disk.path,
            "is_root_device": false,
            "is_read_only": disk.is_read_only,
        })
    };
    let mut config = json!({
        "boot-source": { "kernel_image_path": plan.image, "boot_args": plan.arguments.join(" ") },
        "drives": plan.disks.iter().map(drive).collect::<Vec<_>>(),
        "machine-config": { "vcpu_count": 1, "mem_size_mib": plan.memory_mib },
        "network-interfaces": [],
        // Without it the app finds no other source where the CPU has no RDRAND.
        "entropy": {},
    });
    if plan.has_network {
        let port = json!({ "iface_id": "net0", "guest_mac": plan.mac(), "host_dev_name": plan.tap });
        config["network-interfaces"] = json!([port]);
    }
    Ok(serde_json::to_string_pretty(&config)? + "\n")
}
