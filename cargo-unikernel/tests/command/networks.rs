//! Networks that machines share: the commands that they need, and what is said when something is in the way.
//!
//! `ip` is a script here, so that the same interfaces are there on every computer. `e2e` uses the real one.

use crate::support::{Shown, Stage};
use std::{path::Path, process::Command};

/// Puts an `ip` on the stage that knows these interfaces, JSON objects with commas between.
fn stage(links: &str) -> Stage {
    let stage = Stage::new();
    let answer = format!("case \"$*\" in *'addr show') echo '[{links}]';; *'route show') echo '[]';; *) exit 1;; esac");
    stage.program("ip", &answer);
    stage
}

fn command(stage: &Stage, words: &str) -> Command {
    let mut command = stage.command(words);
    std::fs::create_dir_all(stage.path("runtime")).unwrap();
    command.env("XDG_RUNTIME_DIR", stage.path("runtime"));
    command
}

fn run(stage: &Stage, words: &str) -> Shown {
    Shown::of(command(stage, words).output().unwrap(), stage.folder.path())
}

/// The same by somebody who may not make interfaces.
fn run_as_nobody(stage: &Stage, words: &str) -> Shown {
    let inner = command(stage, words);
    let mut command = Command::new("setpriv");
    // Who is not root has nothing to give away.
    if rustix::process::geteuid().is_root() {
        command.arg("--bounding-set=-all");
    }
    command.arg("--inh-caps=-all").arg(inner.get_program()).args(inner.get_args());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Shown::of(command.current_dir(stage.folder.path()).output().unwrap(), stage.folder.path())
}

fn link(name: &str, kind: &str, more: &str) -> String {
    format!(
        r#"{{"ifname":"{name}","flags":["UP"],"linkinfo":{{"info_kind":"{kind}","info_data":{{"type":"tap","user":"{}"}}}},{more}"addr_info":[]}}"#,
        rustix::process::geteuid().as_raw()
    )
}

fn with_address(link: &str, address: &str) -> String {
    let addresses = format!(r#""addr_info":[{{"family":"inet","local":"{address}","prefixlen":24}}]"#);
    link.replace(r#""addr_info":[]"#, &addresses)
}

/// The commands of a dry run; QEMU's without what every machine has.
fn check(links: &str, options: &str, expected: &[&str]) {
    let stage = stage(links);
    let shown = run(&stage, &format!("runner app --dry-run --accel tcg --machine pc {options}"));
    let line = |line: &str| match (line.split_once(" -netdev "), line.split_once("cargo-unikernel ")) {
        (Some((start, rest)), _) => {
            let place = start.split_once("qemu-system").map_or("", |(place, _)| place);
            format!(
                "{place}qemu -netdev {}",
                rest.replace(" -device virtio-net-pci,netdev=", " -device ").replace(",romfile=", "")
            )
        }
        (None, Some((start, owner))) if owner.starts_with(|first: char| first.is_ascii_digit()) => {
            format!("{start}OWNER{}", owner.split_once('\'').map_or("", |(_, rest)| rest))
        }
        _ => line.to_owned(),
    };
    let lines: Vec<String> = shown.stdout.lines().map(line).collect();
    assert_eq!((lines, shown.code), (expected.iter().map(ToString::to_string).collect(), 0), "{shown:?}");
    // Nothing stays, not even a place for what is taken.
    assert!(!stage.path("runtime/unikernel/networks").exists());
}

const TAP: &str =
    "qemu -netdev tap,id=net0,ifname=uktap0,script=no,downscript=no -device net0,mac=02:75:0a:d5:00:02 -kernel app";

#[test]
fn a_tap_is_made_and_removed() {
    let line = format!("{TAP} -append 'ip=10.213.0.2/24 gw=10.213.0.1 a=b'");
    let made = [
        "ip tuntap add dev uktap0 mode tap",
        "ip link set dev uktap0 alias 'OWNER",
        "ip addr add 10.213.0.1/24 dev uktap0",
        "ip link set dev uktap0 up",
        &line,
        "ip link del dev uktap0",
    ];
    check("", "--net tap a=b", &made);
    // The first name and the first network that are free.
    let lan = with_address(&link("uktap0", "dummy", ""), "10.213.0.1");
    let next: Vec<String> = made
        .iter()
        .map(|line| line.replace("uktap0", "uktap1").replace("10.213.0.", "10.213.1.").replace("0a:d5:00", "0a:d5:01"))
        .collect();
    check(&lan, "--net tap a=b", &next.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_tap_that_is_there_is_used_with_the_address_behind_it() {
    let tap = with_address(&link("mine", "tun", ""), "10.1.1.1");
    let line = "qemu -netdev tap,id=net0,ifname=mine,script=no,downscript=no";
    check(
        &tap,
        "--net tap=mine",
        &[&format!("{line} -device net0,mac=02:75:0a:01:01:02 -kernel app -append 'ip=10.1.1.2/24 gw=10.1.1.1'")],
    );
    check(
        &tap,
        "--net tap=mine ip=10.1.1.9/24",
        &[&format!("{line} -device net0,mac=02:75:0a:01:01:09 -kernel app -append ip=10.1.1.9/24")],
    );
    check(
        &tap,
        "--net tap=mine,mac=02:00:00:00:00:07",
        &[&format!("{line} -device net0,mac=02:00:00:00:00:07 -kernel app -append 'ip=10.1.1.2/24 gw=10.1.1.1'")],
    );
}

#[test]
fn a_bridge_is_made_and_removed() {
    check(
        "",
        "--net bridge",
        &[
            "ip link add dev unikernel0 type bridge",
            "ip link set dev unikernel0 alias 'cargo-unikernel shared'",
            "ip addr add 10.213.0.1/24 dev unikernel0",
            "ip link set dev unikernel0 up",
            "ip tuntap add dev uktap0 mode tap",
            "ip link set dev uktap0 master unikernel0 alias 'OWNER",
            "ip link set dev uktap0 up",
            &format!("{TAP} -append 'ip=10.213.0.2/24 gw=10.213.0.1'"),
            "ip link del dev uktap0",
            "ip link del dev unikernel0",
        ],
    );
}

/// Somebody else gives addresses there.
#[test]
fn a_bridge_of_others_is_joined() {
    let bridge = with_address(&link("br0", "bridge", ""), "192.168.7.5");
    let stage = stage(&bridge);
    let shown = run(&stage, "runner app --dry-run --accel tcg --net bridge=br0");
    let lines: Vec<&str> = shown.stdout.lines().collect();
    assert!(
        lines[0] == "ip tuntap add dev uktap0 mode tap" && lines[1].starts_with("ip link set dev uktap0 master br0 "),
        "{shown:?}"
    );
    assert!(lines[3].contains(",mac=06:75:") && !lines[3].contains("ip="), "{shown:?}");
    assert_eq!((lines[4], lines.len()), ("ip link del dev uktap0", 5), "{shown:?}");
    // The next time it is the same machine to whoever gives addresses.
    let again = run(&stage, "runner app --dry-run --accel tcg --net bridge=br0");
    assert_eq!(again.stdout.lines().nth(3), Some(lines[3]));
}

#[test]
fn a_namespace_is_made_and_removed() {
    let name = format!("uk-{}", std::process::id());
    let ip = format!("ip -n {name}");
    check(
        "",
        &format!("--net netns={name}"),
        &[
            &format!("ip netns add {name}"),
            &format!("{ip} link set dev lo alias 'cargo-unikernel shared' up"),
            &format!("{ip} link add dev unikernel0 type bridge"),
            &format!("{ip} link set dev unikernel0 alias 'cargo-unikernel shared'"),
            &format!("{ip} addr add 10.213.0.1/24 dev unikernel0"),
            &format!("{ip} link set dev unikernel0 up"),
            &format!("{ip} tuntap add dev uktap0 mode tap"),
            &format!("{ip} link set dev uktap0 master unikernel0 alias 'OWNER"),
            &format!("{ip} link set dev uktap0 up"),
            &format!("ip netns exec {name} {TAP} -append 'ip=10.213.0.2/24 gw=10.213.0.1'"),
            &format!("{ip} link del dev uktap0"),
            &format!("{ip} link del dev unikernel0"),
            &format!("ip netns del {name}"),
        ],
    );
}

#[test]
fn a_private_network_needs_nothing() {
    let stage = stage("");
    stage.program("ip", "exit 1");
    let line = |options: &str| run(&stage, &format!("runner app --dry-run --accel tcg {options}")).stdout;
    let lan = line("--net private=lan");
    assert!(lan.contains("-netdev socket,id=net0,mcast=239.255.") && lan.contains(",localaddr=127.0.0.1 "), "{lan}");
    assert!(lan.ends_with(",mac=02:75:0a:d6:00:02 -kernel app -append ip=10.214.0.2/24\n"), "{lan}");
    let group = |line: &str| line.split_once("mcast=").unwrap().1.split_once(',').unwrap().0.to_owned();
    assert_eq!(group(&lan), group(&line("--net private=lan a=b")));
    assert_ne!(group(&lan), group(&line("--net private=other")));
    // Ports lead through the other.
    let both = line("--net user --net private=lan -p 8080:80");
    assert!(both.contains("-netdev user,id=net0,hostfwd=tcp:127.0.0.1:8080-:80 "), "{both}");
    assert!(both.ends_with("-append net1.ip=10.214.0.2/24\n"), "{both}");
}

#[test]
fn what_is_in_the_way_is_named() {
    let tap = with_address(&link("uktap7", "tun", ""), "10.1.1.1");
    let in_use = link("busy", "tun", "").replace("[\"UP\"]", "[\"UP\",\"LOWER_UP\"]");
    let stage = stage(&[link("eth0", "veth", ""), tap, in_use].join(","));
    for (options, part) in [
        ("--net tap=eth0", "there is an interface `eth0` already, which is no tap; take another name"),
        ("--net bridge=eth0", "there is an interface `eth0` already, which is no bridge; take another name"),
        ("--net tap=busy", "another machine uses the tap `busy`; take another one"),
        ("--net bridge=br0", "there is no bridge `br0`; make it with `sudo "),
        (
            "--net tap=uktap7 -p 8080:80",
            "the machine has the address 10.1.1.2 there, so ask 10.1.1.2:80, and leave `--port` away",
        ),
        ("--net private -p 8080:80", "its machines find this one at 10.214.0.2:80"),
        ("--net none --net user", "`--net none` is no network at all"),
        ("--net none -p 8080:80", "`--port` is of no use to a VM without a network"),
        ("--net netns --net user", "leave away one `--net`"),
        ("--net tap=uktap7 --net tap=uktap7", "another machine uses the tap `uktap7`"),
        (
            "--net private=lan --net private=lan ip=10.0.0.2/24 net1.ip=10.0.0.2/24",
            "another machine has the address 10.0.0.2 there",
        ),
    ] {
        let shown = run(&stage, &format!("runner app --accel tcg --dry-run {options}"));
        assert!(shown.code == 125 && shown.stderr.contains(part), "{options}: {shown:?}");
    }
    let _machine = stage.program("ip", "echo nonsense");
    let shown = run(&stage, "runner app --accel tcg --dry-run --net tap");
    assert!(shown.stderr.contains("`ip` does not speak JSON; install iproute2"), "{shown:?}");
    stage.program("ip", "echo 'Cannot open netlink socket' >&2; exit 1");
    let shown = run(&stage, "runner app --accel tcg --dry-run --net tap");
    assert!(shown.stderr.contains("`ip -d -j addr show` failed: Cannot open netlink socket"), "{shown:?}");
}

#[test]
fn without_root_the_one_command_is_named_that_needs_it() {
    let stage = stage(&link("unikernel0", "bridge", ""));
    let tool = env!("CARGO_BIN_EXE_cargo-unikernel");
    for (words, part) in [
        ("runner app --accel tcg --net tap", format!("`sudo {tool} net up tap=uktap0`")),
        ("runner app --accel tcg --net tap=mine", format!("`sudo {tool} net up tap=mine`")),
        (
            "runner app --accel tcg --net bridge",
            format!(
                "another tap on the bridge needs root; make what is needed once with `sudo {tool} net up bridge=unikernel0`"
            ),
        ),
        ("runner app --accel tcg --net netns=lab", "a namespace with a name needs root".into()),
        ("net up tap=mine --user alice", format!("that needs root; run `sudo {tool} net up tap=mine --user alice`")),
        ("net down", format!("that needs root; run `sudo {tool} net down`")),
    ] {
        let shown = run_as_nobody(&stage, words);
        assert!(shown.code == 125 && shown.stderr.contains(&part), "{words}: {shown:?}");
    }
}

/// What root has made for somebody is found by them.
#[test]
fn without_root_what_was_made_once_is_used() {
    let tap = |name: &str, master: &str| link(name, "tun", &format!(r#""ifalias":"cargo-unikernel kept",{master}"#));
    let bridge = with_address(&link("unikernel0", "bridge", r#""ifalias":"cargo-unikernel kept","#), "10.213.4.1");
    let of_others = tap("uktap0", r#""master":"unikernel0","#).replace("\"user\":\"", "\"user\":\"9");
    let links =
        [bridge, of_others, tap("uktap1", r#""master":"unikernel0","#), with_address(&tap("mine", ""), "10.213.5.1")]
            .join(",");
    let stage = stage(&links);
    let line = |net: &str| run_as_nobody(&stage, &format!("runner app --accel tcg --dry-run --net {net}")).stdout;
    for (net, tap, address) in [("bridge", "uktap1", "10.213.4"), ("tap", "mine", "10.213.5")] {
        let shown = line(net);
        assert!(shown.starts_with("qemu") && shown.lines().count() == 1, "{shown}");
        assert!(
            shown.contains(&format!("ifname={tap},")) && shown.contains(&format!("'ip={address}.2/24 gw={address}.1'")),
            "{shown}"
        );
    }
}

#[test]
fn networks_that_stay_are_planned() {
    let stage = stage("");
    let shown = run(&stage, "net up bridge=lab --user alice --taps 2 --dry-run");
    let expected = "ip link add dev lab type bridge\nip link set dev lab alias 'cargo-unikernel kept'\n\
                    ip addr add 10.213.0.1/24 dev lab\nip link set dev lab up\n\
                    ip tuntap add dev uktap0 mode tap user alice\nip link set dev uktap0 master lab alias 'cargo-unikernel kept' up\n\
                    ip tuntap add dev uktap1 mode tap user alice\nip link set dev uktap1 master lab alias 'cargo-unikernel kept' up\n";
    assert_eq!((shown.code, &*shown.stdout), (0, expected), "{shown:?}");
    let shown = run(&stage, "net up tap=mine --user alice --address 10.9.9.1/24 --dry-run");
    assert!(shown.stdout.starts_with("ip tuntap add dev mine mode tap user alice\n"), "{shown:?}");
    assert!(shown.stdout.contains("ip addr add 10.9.9.1/24 dev mine\n"), "{shown:?}");
    for (words, part) in [
        ("net up tap --user a", "`tap` is nothing to make once; write `tap=NAME` or `bridge=NAME`"),
        ("net up tap=mine --user a;b", "`a;b` is no name of a user"),
        ("net up user", "`user` is nothing to make once"),
        ("net down lab --dry-run", "there is no interface `lab`; `cargo unikernel net list` shows which there are"),
    ] {
        let shown = run(&stage, words);
        assert!(shown.code == 125 && shown.stderr.contains(part), "{words}: {shown:?}");
    }
}

#[test]
fn networks_that_stay_are_shown_and_removed() {
    let kept = r#""ifalias":"cargo-unikernel kept","#;
    let bridge = with_address(&link("lab", "bridge", kept), "10.9.9.1");
    let stage = stage(
        &[bridge, link("uktap0", "tun", &format!(r#"{kept}"master":"lab","#)), link("eth0", "veth", "")].join(","),
    );
    assert_eq!(run(&stage, "net list").stdout.lines().nth(1).map(str::trim_end), Some("bridge=lab  10.9.9.1/24  yes"));
    let shown = run(&stage, "net list --json").stdout;
    assert!(shown.contains("\"net\": \"bridge=lab\"") && shown.contains("\"is_kept\": true"), "{shown}");
    assert_eq!(run(&stage, "net down lab --dry-run").stdout, "ip link del dev uktap0\nip link del dev lab\n");
    let shown = run(&stage, "net down eth0 --dry-run");
    assert!(shown.stderr.contains("`eth0` was not made by `cargo unikernel net up`"), "{shown:?}");
    let overlap = run(&stage, "net up tap=mine --user a --address 10.9.0.1/16 --dry-run");
    assert!(
        overlap.stderr.contains("10.9.0.1/16 is a part of 10.9.9.1/24, where this computer has a way already"),
        "{overlap:?}"
    );
}

/// In a mount namespace where it is not.
#[test]
fn a_missing_tun_device_is_named() {
    if !rustix::process::geteuid().is_root() || !Path::new("/dev/net").is_dir() {
        eprintln!("SKIPPED: hiding a device takes root");
        return;
    }
    let stage = stage("");
    let inner = command(&stage, "runner app --accel tcg --net tap");
    let mut outer = Command::new("unshare");
    outer.args(["--mount", "sh", "-c", "mount -t tmpfs none /dev/net && exec \"$@\"", "sh"]);
    outer.arg(inner.get_program()).args(inner.get_args());
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(stage.folder.path());
    let shown = Shown::of(outer.output().unwrap(), stage.folder.path());
    assert!(
        shown.code == 125
            && shown.stderr.contains("there is no /dev/net/tun; load its module with `sudo modprobe tun`"),
        "{shown:?}"
    );
}
