//! The QEMU command that each way of calling the runner gives.

use crate::support::{Shown, Stage};
use std::fs;

const MACHINE: &str = "-nodefaults -no-user-config -display none -no-reboot -serial stdio \
     -device isa-debug-exit,iobase=0xf4,iosize=4";

fn check(options: &str, expected: &str) {
    check_in(&Stage::new(), options, expected);
}

fn check_in(stage: &Stage, options: &str, expected: &str) {
    let shown = stage.run(&format!("runner app --dry-run --accel tcg {options}"));
    assert_eq!(shown.stdout, format!("qemu-system-x86_64 {}\n", expected.replace("MACHINE", MACHINE)), "{shown:?}");
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""));
}

#[test]
fn the_defaults() {
    check(
        "",
        "-M q35 -accel tcg -cpu max -m 64M -smp 1 MACHINE -device virtio-rng-pci \
         -netdev user,id=net0 -device virtio-net-pci,netdev=net0,romfile= -kernel app",
    );
}

#[test]
fn a_microvm_has_no_pci() {
    check(
        "--machine microvm -m 8",
        "-M microvm,acpi=on -accel tcg -cpu max -m 8M -smp 1 MACHINE -global virtio-mmio.force-legacy=false \
         -device virtio-rng-device -netdev user,id=net0 -device virtio-net-device,netdev=net0 -kernel app",
    );
    check(
        "--machine microvm,acpi=off --net none",
        "-M microvm,acpi=off -accel tcg -cpu max -m 64M -smp 1 MACHINE -global virtio-mmio.force-legacy=false \
         -device virtio-rng-device -kernel app",
    );
}

#[test]
fn ports_capture_and_boot_arguments() {
    check(
        "-p 8080:80 --port 2222:22 --pcap a,b.pcap ip=10.0.2.15/24 -- x=1 y",
        "-M q35 -accel tcg -cpu max -m 64M -smp 1 MACHINE -device virtio-rng-pci \
         -netdev user,id=net0,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=tcp:127.0.0.1:2222-:22 \
         -device virtio-net-pci,netdev=net0,romfile= -object filter-dump,id=pcap,netdev=net0,file=a,,b.pcap \
         -kernel app -append 'ip=10.0.2.15/24 x=1 y'",
    );
}

#[test]
fn ports_have_addresses_and_protocols() {
    check(
        "--machine pc -p 0:80 -p 0.0.0.0:8080:80 -p 5353:53/udp -p 127.0.0.2:0:7/udp",
        "-M pc -accel tcg -cpu max -m 64M -smp 1 MACHINE -device virtio-rng-pci \
         -netdev user,id=net0,hostfwd=tcp:127.0.0.1:0-:80,hostfwd=tcp:0.0.0.0:8080-:80,\
         hostfwd=udp:127.0.0.1:5353-:53,hostfwd=udp:127.0.0.2:0-:7 \
         -device virtio-net-pci,netdev=net0,romfile= -kernel app",
    );
}

#[test]
fn the_environment_stands_on_no_command_line() {
    let stage = Stage::new();
    let shown = stage.run("runner app --dry-run --accel tcg --machine pc --net none --env TOKEN=hunter2");
    let line = PC_WITHOUT_NET.replace("MACHINE", MACHINE);
    let expected = format!("qemu-system-x86_64 {line} app -fw_cfg name=opt/unikernel/config,file=ENVIRONMENT\n");
    assert_eq!((shown.code, &shown.stdout), (0, &expected), "{shown:?}");
    assert!(shown.stderr.contains("ENVIRONMENT stands for a file with the lines `env.NAME=\"VALUE\"`"), "{shown:?}");
    let script = "for word; do case $word in name=opt/unikernel/config,file=*) cat \"${word#*file=}\" >seen; esac; done\n\
                  echo \"$@\" >line";
    stage.program("qemu-system-x86_64", script);
    fs::write(stage.path("env"), "GREETING=hello to all\n").unwrap();
    let mut command = stage.command("runner app --accel tcg --net none --env-file env --env TOKEN");
    command.env("TOKEN", "hunter2").output().unwrap();
    let seen = fs::read_to_string(stage.path("seen")).unwrap();
    assert_eq!(seen, "env.GREETING=\"hello to all\"\nenv.TOKEN=\"hunter2\"\n");
    let line = fs::read_to_string(stage.path("line")).unwrap();
    assert!(!line.contains("hunter2") && !line.contains("hello"), "{line}");
}

#[test]
fn wrong_environments_are_named() {
    let stage = Stage::new();
    let check = |words: &str, expected: &str| {
        let shown = stage.run(&format!("runner app --dry-run {words}"));
        assert!(shown.code != 0 && shown.stderr.contains(expected), "{words}: {shown:?}");
    };
    check("--env 1A=b", "a variable has a name of letters, digits and `_`; write NAME=VALUE, or NAME");
    check("--env NOBODY_HAS_THIS", "error: `NOBODY_HAS_THIS` is not in the environment of this command");
    check("--env-file nowhere", "error: cannot read nowhere: No such file or directory");
}

#[test]
fn a_machine_that_shall_start_again_may_reset() {
    let line = "-M pc -accel tcg -cpu max -m 64M -smp 1 MACHINE -device virtio-rng-pci -kernel app -append";
    check("--machine pc --net none on-crash=halt", &format!("{line} on-crash=halt"));
    let line = line.replace("MACHINE", &MACHINE.replace("-no-reboot ", ""));
    check("--machine pc --net none on-crash=reboot", &format!("{line} on-crash=reboot"));
}

const PC_WITHOUT_NET: &str = "-M pc -accel tcg -cpu max -m 64M -smp 1 MACHINE -device virtio-rng-pci -kernel";

#[test]
fn a_test_takes_filters_and_flags_of_libtest() {
    let stage = Stage::new();
    fs::create_dir(stage.path("deps")).unwrap();
    fs::copy(stage.image(), stage.path("deps/app-0123456789abcdef")).unwrap();
    let words = "runner deps/app-0123456789abcdef --dry-run --accel tcg --machine pc --net none timers --nocapture \
                 --exact --quiet --test-threads 1 --color never --show-output a=b";
    let shown = stage.run(words);
    let line = PC_WITHOUT_NET.replace("MACHINE", MACHINE);
    let expected = format!("qemu-system-x86_64 {line} deps/app-0123456789abcdef -append 'test=timers a=b'\n");
    assert_eq!(shown.stdout, expected, "{shown:?}");
}

#[test]
fn words_from_the_environment_come_last() {
    let stage = Stage::new();
    let mut command = stage.command("runner app --dry-run --machine pc --net none");
    command.env("UNIKERNEL_QEMU_ARGS", "-cpu 'max,-erms' -d int").env("UNIKERNEL_ACCEL", "tcg");
    let shown = Shown::of(command.output().unwrap(), stage.folder.path());
    let line = PC_WITHOUT_NET.replace("MACHINE", MACHINE);
    assert_eq!(shown.stdout, format!("qemu-system-x86_64 {line} app -cpu max,-erms -d int\n"), "{shown:?}");
}

fn package(stage: &Stage, metadata: &str) {
    let manifest = format!("[package]\nname = 'app'\n[workspace]\n[package.metadata.unikernel]\n{metadata}");
    fs::write(stage.path("Cargo.toml"), manifest).unwrap();
    fs::create_dir(stage.path("src")).unwrap();
    fs::write(stage.path("src/main.rs"), "").unwrap();
}

#[test]
fn the_package_has_wishes_that_options_replace() {
    let stage = Stage::new();
    package(&stage, "ports = ['8080:80']\nmemory = '5M'\nmachine = 'pc'");
    let line = |memory: &str, host: &str| {
        format!(
            "-M pc -accel tcg -cpu max -m {memory} -smp 1 MACHINE -device virtio-rng-pci \
             -netdev user,id=net0,hostfwd=tcp:127.0.0.1:{host}-:80 -device virtio-net-pci,netdev=net0,romfile= -kernel app"
        )
    };
    check_in(&stage, "", &line("5M", "8080"));
    check_in(&stage, "-p 9090:80 -m 6M", &line("6M", "9090"));
}

#[test]
fn wrong_wishes_are_named() {
    let stage = Stage::new();
    package(&stage, "port = 8080");
    let shown = stage.run("runner app --dry-run");
    let expected = "error: [package.metadata.unikernel] in STAGE/Cargo.toml: has an unknown key `port`; known are \
                    `ports`, `memory`, `machine`, `net`, `disks`, `volumes`\n";
    assert_eq!((shown.code, shown.stderr.as_str()), (125, expected));
}
