//! Machines that share a network: with each other without any rights, with this computer over interfaces that come and go.

use crate::home::Home;
use e2e::{
    PATIENCE,
    client::{self, PAUSE, curl},
    image, namespace,
    vm::{Vm, free_port},
};
use std::{fs, net::IpAddr, process::Command, thread, time::Instant};

/// The interfaces that are there, of a namespace if `words` say `-n NAME`.
fn links(words: &str) -> Vec<String> {
    let output = Command::new("ip").args(words.split_whitespace()).args(["-o", "link"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // `2: e2e0: <…`, `3: veth@if4: <…`
    let name = |line: &str| Some(line.split(": ").nth(1)?.split('@').next()?.to_owned());
    text.lines().filter_map(name).filter(|name| name != "lo" && name != namespace::TAP).collect()
}

fn start(words: &str) -> Vm {
    Vm::start("e2e-guest", words)
}

fn address4(vm: &Vm) -> IpAddr {
    vm.address(IpAddr::is_ipv4)
}

fn ask(address: IpAddr, path: &str) -> String {
    curl(&[&format!("http://{address}:8080{path}")]).text().to_owned()
}

/// Waits for what nothing announces.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(PAUSE);
    }
}

/// One serves, the other fetches for us. Nobody needs a right for it.
#[test]
fn two_machines_on_a_private_network() {
    let name = format!("e2e-{}", std::process::id());
    let server = start(&format!("--net private={name}"));
    let there = address4(&server);
    server.says(&format!("unikernel: network: {there} on the private network `{name}`"));
    let port = free_port();
    let mut command = Command::new(image::tool());
    command.arg("runner").arg(image::image("proxy")).args(["--timeout", "300", "--memory", "128M"]);
    command.args(["--net", &format!("private={name}"), "--net", "user", "--port", &format!("{port}:8080")]);
    let proxy = Vm::start_command(command.arg(format!("backend={there}:8080")), port);
    until("the proxy reaches the server", || {
        client::try_get(port, "/addresses").is_ok_and(|answer| answer.status == 200)
    });
    let answer = client::get(port, "/addresses");
    assert_eq!(String::from_utf8(answer.body).unwrap().lines().next(), Some(&*there.to_string()));
    let big = client::get(port, "/big").body;
    assert!(big.len() == 8 << 20 && big.iter().all(|byte| *byte == b'x'), "{} bytes", big.len());
    // Another network of the same kind is another one.
    let stranger = start(&format!("--net private={name}-other"));
    assert_ne!(address4(&stranger), there);
    proxy.stop();
    server.stop();
    assert_eq!((proxy.ends().code, server.ends().code), (0, 0));
}

#[test]
fn a_tap_comes_and_goes_with_its_machine() {
    namespace::inside(|| {
        for words in ["--net tap", "--net tap=lab0", "--net tap --machine microvm"] {
            let vm = start(words);
            let address = address4(&vm);
            assert_eq!(ask(address, "/number/1"), "1");
            assert_eq!(links("").len(), 1, "{words}");
            vm.stop();
            let end = vm.ends();
            assert_eq!((end.code, links("")), (0, Vec::new()), "{words}: {}", end.text);
        }
        // One whose QEMU refuses to start.
        let vm = Vm::start_with("e2e-guest", "--net tap", "-device nonsense");
        assert_eq!((vm.ends().code, links("")), (125, Vec::new()));
    });
}

#[test]
fn machines_on_a_bridge_see_each_other_and_the_last_removes_it() {
    namespace::inside(|| {
        let (one, other) = (start("--net bridge"), start("--net bridge"));
        let (first, second) = (address4(&one), address4(&other));
        assert_ne!(first, second);
        assert_eq!((ask(first, "/number/1"), ask(second, "/number/2")), ("1".into(), "2".into()));
        assert_eq!(links("").len(), 3);
        one.stop();
        assert_eq!((one.ends().code, links("").len()), (0, 2));
        assert_eq!(ask(second, "/number/3"), "3");
        other.stop();
        assert_eq!((other.ends().code, links("")), (0, Vec::new()));
    });
}

#[test]
fn what_a_killed_runner_leaves_is_removed_by_the_next_start() {
    namespace::inside(|| {
        let vm = start("--net bridge");
        let address = address4(&vm);
        assert_eq!(ask(address, "/number/1"), "1");
        // Its end is a SIGKILL.
        drop(vm);
        assert_eq!(links("").len(), 2);
        let vm = start("--net tap");
        assert_eq!(ask(address4(&vm), "/number/2"), "2");
        assert_eq!(links("").len(), 1);
        drop(vm);
        let swept = Command::new(image::tool()).args(["net", "down"]).status().unwrap();
        assert!(swept.success() && links("").is_empty());
    });
}

#[test]
fn a_namespace_comes_and_goes_with_its_machine() {
    namespace::inside(|| {
        // Namespaces have their names in the file system, which is everybody's.
        fs::create_dir_all("/run/netns").unwrap();
        assert!(Command::new("mount").args(["-t", "tmpfs", "none", "/run/netns"]).status().unwrap().success());
        let vm = start("--net netns=lab");
        let address = address4(&vm);
        let there =
            ["netns", "exec", "lab", "curl", "-sS", "--max-time", "60", &format!("http://{address}:8080/number/4")];
        assert_eq!(Command::new("ip").args(there).output().unwrap().stdout, b"4");
        assert_eq!((links(""), links("-n lab").len()), (Vec::new(), 2));
        vm.stop();
        assert_eq!((vm.ends().code, fs::read_dir("/run/netns").unwrap().count()), (0, 0));
    });
}

/// This test's own rights, but for the one that a user namespace asks of root.
#[test]
fn without_rights_a_machine_has_a_namespace_of_its_own() {
    namespace::inside(|| {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-all,+setfcap", "--inh-caps=-all"]).arg(image::tool()).arg("runner");
        command.arg(image::image("e2e-guest")).args(["--net", "netns", "--timeout", "300"]);
        let vm = Vm::start_command(&mut command, 0);
        let address = address4(&vm);
        let mut enter = Command::new("nsenter");
        enter.args(["--target", &vm.pid().to_string(), "--user", "--net", "--preserve-credentials"]);
        enter.args(["curl", "-sS", "--max-time", "60", &format!("http://{address}:8080/number/5")]);
        assert_eq!(enter.output().unwrap().stdout, b"5");
        assert_eq!(links(""), Vec::<String>::new());
        vm.stop();
        assert_eq!(vm.ends().code, 0);
    });
}

/// Made by root once, used by somebody who may make nothing.
#[test]
fn a_bridge_that_stays_needs_no_rights() {
    namespace::inside(|| {
        let tool = |words: &str| Command::new(image::tool()).args(words.split(' ')).output().unwrap();
        assert!(tool("net up bridge=lab --taps 2").status.success());
        let user = |words: &str| {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set=-all", "--inh-caps=-all"]).arg(image::tool()).arg("runner");
            command.arg(image::image("e2e-guest")).args(["--timeout", "300"]).args(words.split(' '));
            Vm::start_command(&mut command, 0)
        };
        let (one, other) = (user("--net bridge=lab"), user("--net bridge=lab"));
        let (first, second) = (address4(&one), address4(&other));
        assert_eq!((ask(first, "/number/6"), ask(second, "/number/7")), ("6".into(), "7".into()));
        let third = user("--net bridge=lab").ends();
        assert!(third.code == 125 && third.text.contains("another tap on the bridge needs root"), "{third:?}");
        let refused = tool("net down lab");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("stop it first"), "{refused:?}");
        one.stop();
        other.stop();
        assert_eq!((one.ends().code, other.ends().code, links("").len()), (0, 0, 3));
        assert!(tool("net down lab").status.success() && links("").is_empty());
    });
}

#[test]
fn instances_take_their_networks_with_them() {
    namespace::inside(|| {
        let home = Home::new();
        home.create("one", "e2e-guest", "--net bridge");
        home.create("other", "e2e-guest", "--net bridge --restart always");
        let address = |name: &str| home.state(name)["addresses"][0].as_str().unwrap().parse::<IpAddr>().unwrap();
        for name in ["one", "other"] {
            home.logs_say(name, &format!("network: address {}", address(name)));
            assert_eq!(ask(address(name), "/number/8"), "8");
        }
        assert_eq!(links("").len(), 3);
        let refused = home.run("clone one copy");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("which its copy would have, too"), "{refused:?}");
        home.says("stop one");
        assert_eq!(links("").len(), 2);
        // A killed supervisor leaves what `delete` removes.
        let pid = home.state("other")["pid"].to_string();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let supervisor = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap();
        assert!(Command::new("kill").args(["-9", supervisor]).status().unwrap().success());
        home.wait("other", |state| state["state"] == "dead" && home.processes().is_empty());
        assert_eq!(links("").len(), 2);
        home.says("delete one other");
        assert_eq!((links(""), home.left(), home.processes()), (Vec::new(), Vec::new(), Vec::new()));
    });
}
