//! Manifests for Kubernetes.

use serde_json::{Value, json};

use super::{Plan, yaml};
use crate::{
    boot_disk::oci::KERNEL,
    port::{Port, Protocol},
};

/// What KubeVirt starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// The disk, by its firmware.
    Disk,
    /// The kernel; the disk is there for the volumes on it.
    Kernel,
}

/// A virtual machine of KubeVirt (kubevirt.io/v1), and a service for its ports.
pub(crate) fn kubevirt(plan: &Plan, start: Start) -> String {
    let image = plan.reference.to_string();
    let (mut devices, mut networks) = (json!({}), Vec::new());
    devices["autoattachGraphicsDevice"] = false.into();
    devices["disks"] = json!([{ "name": "image", "disk": { "bus": "virtio" } }]);
    devices["rng"] = json!({});
    if plan.has_network {
        // The machine asks for its address by DHCP, which masquerading answers.
        devices["interfaces"] = json!([{ "name": "default", "model": "virtio", "masquerade": {} }]);
        networks.push(json!({ "name": "default", "pod": {} }));
    } else {
        devices["autoattachPodInterface"] = false.into();
    }
    let mut domain = json!({
        "cpu": { "cores": 1 },
        "memory": { "guest": format!("{}Mi", plan.memory_mib) },
        "machine": { "type": "q35" },
        "devices": devices,
    });
    if start == Start::Kernel {
        let container = json!({ "image": image, "kernelPath": format!("/{KERNEL}") });
        domain["firmware"]["kernelBoot"] = json!({ "container": container });
        if !plan.arguments.is_empty() {
            domain["firmware"]["kernelBoot"]["kernelArgs"] = plan.arguments.join(" ").into();
        }
    }
    let machine = json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": { "name": plan.name },
        "spec": { "runStrategy": "Always", "template": {
            "metadata": { "labels": { "app": plan.name } },
            "spec": {
                "domain": domain,
                "networks": networks,
                "terminationGracePeriodSeconds": GRACE_SECONDS,
                "volumes": [{ "name": "image", "containerDisk": { "image": image } }],
            },
        } },
    });
    yaml::documents(&[vec![machine], service(plan)].concat())
}

/// What an app has to stop in order, and a margin.
const GRACE_SECONDS: u64 = 15;

/// A pod whose container is a machine, by urunc.
pub(crate) fn urunc(plan: &Plan) -> String {
    let ports: Vec<_> =
        plan.ports.iter().map(|port| with_protocol(*port, json!({ "containerPort": port.guest }))).collect();
    let container = json!({
        "name": plan.name,
        "image": plan.reference.to_string(),
        "ports": ports,
        "resources": { "limits": { "memory": format!("{}Mi", plan.memory_mib) } },
    });
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": plan.name, "labels": { "app": plan.name } },
        "spec": { "runtimeClassName": "urunc", "containers": [container] },
    });
    yaml::documents(&[vec![pod], service(plan)].concat())
}

/// Names differ where one number is used for connections and for datagrams.
fn service_port(port: Port) -> Value {
    let suffix = if port.protocol == Protocol::Udp { "-udp" } else { "" };
    // A cluster has all numbers free, so that any is the app's own.
    let seen = if port.host == 0 { port.guest } else { port.host };
    let name = format!("port-{}{suffix}", port.guest);
    with_protocol(port, json!({ "name": name, "port": seen, "targetPort": port.guest }))
}

/// Kubernetes takes a port for TCP where nothing is said.
fn with_protocol(port: Port, mut value: Value) -> Value {
    if port.protocol == Protocol::Udp {
        value["protocol"] = "UDP".into();
    }
    value
}

/// For the ports, if there are any.
fn service(plan: &Plan) -> Vec<Value> {
    if plan.ports.is_empty() || !plan.has_network {
        return Vec::new();
    }
    let ports: Vec<_> = plan.ports.iter().map(|port| service_port(*port)).collect();
    vec![json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": plan.name },
        "spec": { "selector": { "app": plan.name }, "ports": ports },
    })]
}
