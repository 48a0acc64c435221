//! `image export`: what hypervisors and clusters are told, checked with their own rules where those are installed.

use crate::support::Stage;
use serde_json::{Value, json};
use std::{fs, path::Path};

fn made(words: &str) -> Stage {
    let stage = Stage::new();
    let shown = stage.run(&format!("image create --image app {words}"));
    assert_eq!(shown.code, 0, "{shown:?}");
    stage
}

fn says(stage: &Stage, words: &str) -> String {
    let shown = stage.run(&format!("image export {words}"));
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""), "{words}: {shown:?}");
    shown.stdout
}

fn fails(stage: &Stage, words: &str, text: &str) {
    let shown = stage.run(&format!("image export {words}"));
    assert!(shown.code == 125 && shown.stdout.is_empty() && shown.stderr.contains(text), "{words}: {shown:?}");
}

#[test]
fn firecracker() {
    let stage = made("-o web.elf -f elf -- ip=172.16.0.2/24 gw=172.16.0.1");
    let text =
        says(&stage, "web.elf --for firecracker -m 128M --volume my-state=state.img --disk site.img,ro --tap tap7");
    let config: Value = serde_json::from_str(&text).unwrap();
    let expected = json!({
        "boot-source": { "kernel_image_path": "STAGE/web.elf", "boot_args": "ip=172.16.0.2/24 gw=172.16.0.1" },
        "machine-config": { "vcpu_count": 1, "mem_size_mib": 128 },
        "drives": [
            { "drive_id": "my_state", "path_on_host": "STAGE/state.img", "is_root_device": false, "is_read_only": false },
            { "drive_id": "disk1", "path_on_host": "STAGE/site.img", "is_root_device": false, "is_read_only": true },
        ],
        "network-interfaces": [
            { "iface_id": "net0", "guest_mac": config["network-interfaces"][0]["guest_mac"], "host_dev_name": "tap7" },
        ],
        "entropy": {},
    });
    assert_eq!(config, expected);
    // Of the kind that everybody may give out, and for one machine.
    assert!(config["network-interfaces"][0]["guest_mac"].as_str().unwrap().starts_with("02:"));
    let alone: Value = serde_json::from_str(&says(&stage, "web.elf --for firecracker --net none")).unwrap();
    assert_eq!((&alone["network-interfaces"], &alone["drives"]), (&json!([]), &json!([])));
    let disk = made("-o web.img");
    fails(&disk, "web.img --for firecracker", "Firecracker starts kernels, not disks");
}

#[test]
fn cloud_hypervisor() {
    let stage = made("-o web.elf -f elf -- a=b c=d");
    let text = says(&stage, "web.elf --for cloud-hypervisor -m 1G --volume state=state.img");
    let expected = "cloud-hypervisor \\
    --kernel STAGE/web.elf \\
    --cmdline 'a=b c=d' \\
    --disk path=STAGE/state.img,serial=state \\
    --cpus boot=1 \\
    --memory size=1024M \\
    --net tap=tap0,mac=MAC \\
    --serial tty \\
    --console off
";
    let mac = text.split("mac=").nth(1).unwrap().split_whitespace().next().unwrap();
    assert_eq!(text.replace(mac, "MAC"), expected);
    let disk = made("-o web.img");
    assert!(says(&disk, "web.img --for cloud-hypervisor").contains("    --disk path=STAGE/web.img \\\n"));
    let archive = made("-o web.tar.gz -f gce");
    fails(&archive, "web.tar.gz --for cloud-hypervisor", "takes no gce image; make one with `--format elf`");
}

#[test]
fn libvirt() {
    for (format, part) in [
        ("elf", "<kernel>STAGE/web&amp;1</kernel>\n    <cmdline>greeting=&apos;a&lt;b&apos; c</cmdline>"),
        ("raw", "<driver name='qemu' type='raw' discard='unmap'/>\n      <source file='STAGE/web&amp;1'/>"),
        ("qcow2", "type='qcow2'"),
        ("vmdk", "type='vmdk'"),
        ("vhd", "type='vpc'"),
    ] {
        let stage = made(&format!("-o web&1 -f {format} -- greeting='a<b' c"));
        let words = "web&1 --for libvirt -m 96M --name web-1 --volume state=state.img --disk site.img,serial=site,ro";
        let text = says(&stage, &format!("{words} -o web.xml"));
        assert_eq!(text, "");
        let xml = fs::read_to_string(stage.path("web.xml")).unwrap();
        let shown = xml.replace(stage.folder.path().to_str().unwrap(), "STAGE");
        assert!(shown.contains(part) && shown.contains("<memory unit='MiB'>96</memory>"), "{shown}");
        assert!(shown.contains("<name>web-1</name>") && shown.contains("<serial>site</serial>"), "{shown}");
        // The schema that libvirt itself checks domains with.
        stage.tool("virt-xml-validate", "web.xml domain");
    }
    let archive = made("-o web.tar -f oci");
    fails(&archive, "web.tar --for libvirt", "libvirt takes no oci image");
}

#[test]
fn clusters() {
    let stage = made("-o web.tar -f oci --reference r.example.org/web:2 -- a=b");
    let parse = |text: &str| -> Vec<Value> {
        fs::write(stage.path("manifest"), text).unwrap();
        let script = stage.path("parse.py");
        fs::write(&script, "import json,sys,yaml\nprint(json.dumps(list(yaml.safe_load_all(open('manifest')))))\n")
            .unwrap();
        // The system's Python, for which `script/setup` installs the package.
        let python = if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" };
        serde_json::from_str(&stage.tool(python, "parse.py")).unwrap()
    };
    let all = parse(&says(&stage, "web.tar --for kubevirt -p 80:8080 -m 96M"));
    let (machine, service) = (&all[0], &all[1]);
    assert_eq!((&machine["apiVersion"], &machine["kind"]), (&"kubevirt.io/v1".into(), &"VirtualMachine".into()));
    let spec = &machine["spec"]["template"]["spec"];
    assert_eq!(spec["volumes"], json!([{ "name": "image", "containerDisk": { "image": "r.example.org/web:2" } }]));
    assert_eq!(spec["domain"]["devices"]["disks"][0], json!({ "name": "image", "disk": { "bus": "virtio" } }));
    assert_eq!((&spec["domain"]["memory"]["guest"], &spec["domain"]["cpu"]["cores"]), (&"96Mi".into(), &1.into()));
    assert_eq!(service["spec"]["selector"], machine["spec"]["template"]["metadata"]["labels"]);
    assert_eq!(service["spec"]["ports"], json!([{ "name": "port-8080", "port": 80, "targetPort": 8080 }]));
    let all = parse(&says(&stage, "web.tar --for kubevirt-kernel --net none"));
    let expected = json!({
        "container": { "image": "r.example.org/web:2", "kernelPath": "/unikernel/kernel.elf" }, "kernelArgs": "a=b",
    });
    assert_eq!(all[0]["spec"]["template"]["spec"]["domain"]["firmware"]["kernelBoot"], expected);
    assert_eq!((all.len(), &all[0]["spec"]["template"]["spec"]["networks"]), (1, &json!([])));
    let all = parse(&says(&stage, "web.tar --for urunc -p 80:8080 -p 0:53/udp"));
    assert_eq!((&all[0]["kind"], &all[0]["spec"]["runtimeClassName"]), (&"Pod".into(), &"urunc".into()));
    let ports = json!([{ "containerPort": 8080 }, { "containerPort": 53, "protocol": "UDP" }]);
    assert_eq!(all[0]["spec"]["containers"][0]["ports"], ports);
    let datagrams = json!({ "name": "port-53-udp", "port": 53, "targetPort": 53, "protocol": "UDP" });
    assert_eq!(all[1]["spec"]["ports"][1], datagrams);
    // The one that lies beside the image.
    let beside = parse(&fs::read_to_string(stage.path("web.tar.kubernetes.yaml")).unwrap());
    assert_eq!(beside[0]["metadata"]["name"], "web");
    fails(&stage, "web.tar --for kubevirt --volume a=b", "disks of a cluster are its own");
    let disk = made("-o web.img");
    fails(&disk, "web.img --for kubevirt", "make one with `cargo unikernel image create --format oci`");
}

#[test]
fn a_script_reads_what_was_taken() {
    let stage = made("-o web.elf -f elf -- a=b");
    let seen: Value = serde_json::from_str(&says(&stage, "web.elf --for libvirt --json -p 80:8080")).unwrap();
    assert_eq!(
        (&seen["memory_mib"], &seen["ports"], &seen["boot_arguments"]),
        (&64.into(), &json!(["80:8080"]), &json!(["a=b"]))
    );
    assert!(seen["text"].as_str().unwrap().starts_with("<domain"));
    fails(&stage, "web.elf --for libvirt --name A", "`A` is no name");
}
