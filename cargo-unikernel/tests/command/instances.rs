//! Machines in the background: what commands make, and what is left of it.

use crate::support::{Shown, Stage, image};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A stage with a home of its own. Dropped, it ends what still runs.
struct Home(Stage);

impl Home {
    fn new() -> Home {
        let home = Home(Stage::new());
        fs::create_dir(home.0.path("run")).unwrap();
        fs::set_permissions(home.0.path("run"), fs::Permissions::from_mode(0o700)).unwrap();
        home
    }

    fn command(&self, words: &str) -> Command {
        let mut command = self.0.command(&format!("instance {words}"));
        command.env("XDG_STATE_HOME", self.0.path("state")).env("XDG_RUNTIME_DIR", self.0.path("run"));
        command.env("UNIKERNEL_ACCEL", "tcg");
        command
    }

    fn run(&self, words: &str) -> Shown {
        Shown::of(self.command(words).output().unwrap(), self.0.folder.path())
    }

    /// A command that must succeed, and what it says.
    fn says(&self, words: &str) -> String {
        let shown = self.run(words);
        assert_eq!(shown.code, 0, "{words}: {shown:?}");
        shown.stdout
    }

    /// What is known of the instance.
    fn state(&self, name: &str) -> serde_json::Value {
        let all: serde_json::Value = serde_json::from_str(&self.says("list --json")).unwrap();
        all.as_array().unwrap().iter().find(|one| one["name"] == name).cloned().unwrap_or_default()
    }

    /// Waits until the instance is as wanted; there is no event for somebody who only looks.
    fn wait(&self, name: &str, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.state(name);
            if wanted(&state) {
                return state;
            }
            assert!(Instant::now() < deadline, "{state}");
            thread::yield_now();
        }
    }

    fn folder(&self) -> PathBuf {
        self.0.path("state/unikernel/instances")
    }

    /// No file of an instance, and no process that was told of this home.
    fn is_empty(&self) -> bool {
        let left = fs::read_dir(self.folder()).map_or(0, Iterator::count);
        left == 0
            && fs::read_dir(self.0.path("run/unikernel")).map_or(0, Iterator::count) == 0
            && self.processes().is_empty()
    }

    fn processes(&self) -> Vec<String> {
        let stage = self.0.folder.path().to_string_lossy().into_owned();
        let lines = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).replace('\0', " "))
        });
        lines.filter(|line| line.contains(&stage) && line.contains("instances")).collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.folder()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let _ = self.command(&format!("delete --now {name}")).output();
        }
    }
}

/// Waits for a condition that nothing announces.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::yield_now();
    }
}

#[test]
fn a_dry_run_prints_the_command_and_makes_nothing() {
    let home = Home::new();
    fs::create_dir(home.0.path("site")).unwrap();
    let words = "create web --image app --dry-run -p 8080:80 --memory 32M --volume state=s.img --disk site -- a=b";
    let line = home.says(words).replace("STAGE/state/unikernel/instances", "HERE");
    let start = "qemu-system-x86_64 -M q35 -accel tcg -cpu max -m 32M -smp 1 ";
    assert!(line.starts_with(start) && line.contains("hostfwd=tcp:127.0.0.1:8080-:80"), "{line}");
    assert!(line.contains("file=HERE/web/image.") && line.contains("file=STAGE/s.img"), "{line}");
    assert!(line.ends_with("-kernel HERE/web/image -append a=b -device vmgenid,guid=auto\n"), "{line}");
    assert!(!home.0.path("s.img").exists() && home.is_empty());
    let line = home.says("create --image app --dry-run --machine microvm -p 80");
    assert!(line.ends_with("instances/app/image\n") && line.contains("-M microvm"), "{line}");
}

#[test]
fn errors_say_what_to_do() {
    let home = Home::new();
    let check = |words: &str, expected: &str| {
        let shown = home.run(words);
        assert!(shown.code != 0 && shown.stderr.contains(expected), "{words}: {shown:?}");
        assert!(home.is_empty(), "{words}");
    };
    check("logs web", "there is no instance `web`; make one with `cargo unikernel instance create`");
    check("delete web", "there is no instance `web`");
    check("create ../x --image app", "`../x` is no name of an instance");
    check("create web --image nothing", "cannot read the image nothing");
    check("create web --image app -p hello", "leave away `-p hello`, which would build one");
    check("create web --image app --disk nothing", "there is no disk STAGE/nothing");
    check("create web --image app --accel kvm --net none -p 1:2", "");
    let mut command = home.command("create web --image app");
    let shown =
        Shown::of(command.env("UNIKERNEL_QEMU_ARGS", "-device nonsense").output().unwrap(), home.0.folder.path());
    assert!(shown.stderr.contains("`web` does not start: QEMU failed with status 1"), "{shown:?}");
    assert!(shown.stderr.contains("'nonsense' is not a valid device model name"), "{shown:?}");
    assert!(home.is_empty());
}

/// It is needed for every start, and nobody else reads it.
#[test]
fn the_environment_of_an_instance_is_its_owners() {
    let home = Home::new();
    let words = "create web --image app --net none --env TOKEN=hunter2";
    let line = home.says(&format!("{words} --dry-run"));
    let expected = "-fw_cfg name=opt/unikernel/config,file=STAGE/state/unikernel/instances/web/environment ";
    assert!(line.contains(expected) && !line.contains("hunter2"), "{line}");
    home.says(words);
    home.wait("web", |state| state["state"] == "ended");
    let file = home.folder().join("web/environment");
    assert_eq!(fs::read_to_string(&file).unwrap(), "env.TOKEN=\"hunter2\"\n");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let description = fs::read_to_string(home.folder().join("web/instance.json")).unwrap();
    assert!(!description.contains("hunter2") && !home.says("logs web").contains("hunter2"), "{description}");
    home.says("start web");
    assert_eq!(home.wait("web", |state| state["state"] == "ended")["ended"]["code"], 0);
    home.says("delete web");
    assert!(home.is_empty());
}

#[test]
fn a_machine_that_ends_is_remembered() {
    let home = Home::new();
    fs::write(home.0.image(), image("one\r\ntwo\n", Some(7))).unwrap();
    home.says("create web --image app");
    let state = home.wait("web", |state| state["state"] == "ended");
    assert_eq!((&state["ended"]["code"], &state["restarts"]), (&7.into(), &0.into()), "{state}");
    assert_eq!(state["ended"]["words"], "the app ended itself (exit code 7)");
    assert_eq!(home.says("logs web"), "one\ntwo\nunikernel: the app ended itself (exit code 7)\n");
    assert_eq!(home.says("logs web -f -n 2"), "two\nunikernel: the app ended itself (exit code 7)\n");
    // Its image is its own.
    fs::write(home.0.image(), image("three\n", Some(0))).unwrap();
    home.says("start web");
    home.wait("web", |state| state["state"] == "ended");
    assert_eq!(home.says("logs web").matches("one\n").count(), 2);
    assert_eq!(home.run("create web --image app").code, 125);
    home.says("create --image app");
    home.wait("app", |state| state["state"] == "ended");
    home.says("create --image app");
    assert_eq!(home.wait("app-2", |state| state["state"] == "ended")["ended"]["code"], 0);
    home.says("delete web app app-2");
    assert!(home.is_empty());
}

#[test]
fn policies_start_it_again() {
    let home = Home::new();
    fs::write(home.0.image(), image("up\n", Some(7))).unwrap();
    home.says("create fails --image app --restart on-failure");
    let state = home.wait("fails", |state| state["restarts"].as_u64() >= Some(2));
    assert_eq!(state["ended"]["code"], 7);
    let log = home.says("logs fails");
    let waits = ["it starts again in 0.25 s", "it starts again in 0.5 s"];
    assert!(waits.iter().all(|wait| log.contains(wait)), "{log}");
    home.says("stop fails");
    assert_eq!(home.state("fails")["state"], "stopped");
    fs::write(home.0.image(), image("up\n", Some(0))).unwrap();
    home.says("create ends --image app --restart on-failure");
    assert_eq!(home.wait("ends", |state| state["state"] == "ended")["restarts"], 0);
    home.says("create stays --image app --restart always");
    home.wait("stays", |state| state["restarts"].as_u64() >= Some(1));
    home.says("delete --now fails ends stays");
    assert!(home.is_empty());
}

/// What is free when it is made is what it has from then on.
#[test]
fn an_instance_keeps_the_ports_that_were_chosen() {
    let home = Home::new();
    let made = home.says("create web --image app -p 0:80 -p 127.0.0.2:0:53/udp --json");
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let ports = made["ports"].as_array().unwrap();
    let host = |index: usize| ports[index]["host"].as_u64().unwrap();
    assert!(host(0) != 0 && host(1) != 0, "{made}");
    let expected = serde_json::json!([
        { "address": "127.0.0.1", "host": host(0), "guest": 80, "protocol": "tcp" },
        { "address": "127.0.0.2", "host": host(1), "guest": 53, "protocol": "udp" },
    ]);
    assert_eq!(made["ports"], expected);
    home.wait("web", |state| state["state"] == "ended");
    home.says("start web");
    assert_eq!(home.wait("web", |state| state["state"] == "ended")["ports"], expected);
    let list = home.says("list");
    assert!(list.contains(&format!(" {}:80,127.0.0.2:{}:53/udp ", host(0), host(1))), "{list}");
    home.says("delete web");
    assert!(home.is_empty());
}

/// A QEMU that never answers, and has told its process id.
fn silent_qemu(home: &Home) {
    let pid = home.0.path("pid");
    home.0.program("qemu-system-x86_64", &format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", pid.display()));
}

fn qemu_pid(home: &Home) -> String {
    until("QEMU starts", || home.0.path("pid").exists());
    fs::read_to_string(home.0.path("pid")).unwrap().trim().to_owned()
}

fn is_running(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_create_that_is_interrupted_leaves_nothing() {
    let home = Home::new();
    silent_qemu(&home);
    let mut create = home.command("create web --image app").stderr(Stdio::piped()).spawn().unwrap();
    let qemu = qemu_pid(&home);
    signal(&create, "INT");
    assert_eq!(create.wait().unwrap().code(), Some(130));
    assert!(!is_running(&qemu) && home.is_empty(), "{:?}", home.processes());
    let mut said = String::new();
    create.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "unikernel: interrupted; nothing was changed\n");
}

#[test]
fn a_create_that_is_killed_leaves_nothing() {
    let home = Home::new();
    silent_qemu(&home);
    let mut create = home.command("create web --image app").spawn().unwrap();
    let qemu = qemu_pid(&home);
    create.kill().unwrap();
    create.wait().unwrap();
    until("nothing is left", || !is_running(&qemu) && home.is_empty());
}

/// At any moment: that the time differs is the point.
#[test]
fn a_create_is_interrupted_at_many_moments() {
    let home = Home::new();
    fs::write(home.0.image(), image("up\n", None)).unwrap();
    for millis in [0, 1, 2, 4, 8, 16, 32, 64, 128, 256] {
        let mut create = home.command("create web --image app --net none").stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(millis));
        signal(&create, "INT");
        let status = create.wait().unwrap();
        if status.success() {
            home.says("delete --now web");
        }
        until("nothing is left", || home.is_empty());
    }
}

#[test]
fn one_whose_supervisor_is_killed_is_dead_and_can_be_started() {
    let home = Home::new();
    fs::write(home.0.image(), image("up\n", None)).unwrap();
    let made: serde_json::Value = serde_json::from_str(&home.says("create web --image app --net none --json")).unwrap();
    assert_eq!((&made["state"], &made["name"]), (&"running".into(), &"web".into()));
    let pid = made["pid"].to_string();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let supervisor = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap();
    has_nothing_of_ours(supervisor);
    assert!(Command::new("kill").args(["-9", supervisor]).status().unwrap().success());
    home.wait("web", |state| state["state"] == "dead");
    until("QEMU ends", || !is_running(&pid));
    assert!(home.run("stats web").stderr.contains("`web` is dead: it uses nothing"));
    home.says("start web");
    assert_eq!(home.state("web")["state"], "running");
    home.says("stop --now web");
    let state = home.state("web");
    assert_eq!(state["ended"]["words"], "killed, as it was asked to end at once (exit code 131)");
    home.says("delete web");
    assert!(home.is_empty());
}

/// It has a session of its own, and none of our files, so it lives on when the terminal is closed.
fn has_nothing_of_ours(supervisor: &str) {
    let stat = |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = |pid: &str| stat(pid).rsplit_once(") ").unwrap().1.split(' ').nth(3).unwrap().to_owned();
    assert_eq!(session(supervisor), supervisor);
    until("it lets go of stdin", || {
        let leads_to = |fd: &str| fs::read_link(format!("/proc/{supervisor}/fd/{fd}")).unwrap();
        leads_to("0").as_os_str() == "/dev/null" && leads_to("1").as_os_str() == "/dev/null"
    });
}

#[test]
fn a_machine_that_does_not_listen_is_stopped_in_time() {
    let home = Home::new();
    fs::write(home.0.image(), image("up\n", None)).unwrap();
    home.says("create web --image app --net none -- stop-timeout=0");
    home.says("stop web");
    assert_eq!(home.state("web")["ended"]["words"], "killed: it did not stop in 5 s (exit code 143)");
    assert!(home.says("logs web").contains("unikernel: the machine did not stop in 5 s and is ended"));
}

/// Writes back each byte that comes from the serial port.
fn echo() -> Vec<u8> {
    let mut code = vec![0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7]; // in al, 0x3fd; test al, 1; jz back
    code.extend([0x66, 0xba, 0xf8, 0x03, 0xec, 0xee, 0xeb, 0xef]); // in al, 0x3f8; out 0x3f8, al; jmp back
    crate::support::image_of(&code)
}

#[test]
fn a_console_is_joined_and_left() {
    let home = Home::new();
    fs::write(home.0.image(), echo()).unwrap();
    home.says("create web --image app --net none");
    let mut console = home.command("console web").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut keys = console.stdin.take().unwrap();
    let mut said = BufReader::new(console.stdout.take().unwrap());
    for text in ["hello\n", "again\n"] {
        keys.write_all(text.as_bytes()).unwrap();
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, text);
    }
    home.says("stop --now web");
    assert!(console.wait().unwrap().success());
    assert!(home.says("logs web").starts_with("hello\nagain\n"));
    assert!(home.run("console web").stderr.contains("`web` is stopped; start it with"));
}

/// A boot sector that writes `text` to the serial port and ends with this exit code.
fn boot_sector(text: &str, exit_code: u8) -> Vec<u8> {
    let mut code = vec![0xba, 0xf8, 0x03]; // mov dx, 0x3f8
    code.extend(text.bytes().flat_map(|byte| [0xb0, byte, 0xee])); // mov al, byte; out dx, al
    code.extend([0xba, 0xf4, 0, 0xb0, exit_code, 0xee, 0xf4]); // the same to 0xf4; hlt
    code.resize(510, 0);
    code.extend([0x55, 0xaa]);
    code.resize(1 << 20, 0);
    code
}

#[test]
fn a_disk_starts_by_itself() {
    let home = Home::new();
    fs::write(home.0.path("disk.img"), boot_sector("from a disk\n", 7)).unwrap();
    home.says("create web --image disk.img --bios seabios");
    let state = home.wait("web", |state| state["state"] == "ended");
    assert_eq!(state["ended"]["code"], 7);
    assert_eq!(home.says("logs web"), "from a disk\nunikernel: the app ended itself (exit code 7)\n");
    let check = |words: &str, expected: &str| {
        let shown = home.run(&format!("create other --image {words}"));
        assert!(shown.code == 125 && shown.stderr.contains(expected), "{words}: {shown:?}");
    };
    check("disk.img --bios seabios -- a=b", "the boot arguments of a disk are on it");
    check("disk.img --bios seabios --machine microvm", "a microvm starts no disk");
    check("app --bios seabios", "app is an ELF, which QEMU starts itself");
    home.says("delete web");
    assert!(home.is_empty());
}
