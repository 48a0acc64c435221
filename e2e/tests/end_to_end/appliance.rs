//! The stack and the web server as libraries: in an image without the entry macro, and in a process of Linux.

use e2e::{PATIENCE, client, image, namespace, namespace::ip, output::Output, vm::Vm};
use std::{
    process::{Child, Command, Stdio},
    time::Instant,
};

#[test]
fn an_image_without_the_entry_macro() {
    let vm = Vm::serving("appliance", "");
    assert!(client::get(vm.port, "/").body.starts_with(b"up for "));
    vm.stop();
    let end = vm.ends();
    assert_eq!(end.code, 0, "{}", end.text);
}

#[test]
fn it_refuses_boot_arguments_by_itself() {
    let end = Vm::start("appliance", "-- nonsense=1").ends();
    assert!(end.code == 1 && end.text.contains("nonsense"), "{}", end.text);
}

#[test]
fn a_process_on_linux() {
    // Inside there is no way to fetch what it is made of.
    image::program("on-linux");
    namespace::inside(|| {
        ip("tuntap add dev own0 mode tap");
        ip("address add 10.9.0.1/24 dev own0");
        ip("link set own0 up");
        let process = Process::start("own0 10.9.0.2/24");
        process.output.says("serving http://10.9.0.2:8080/\n", 1);
        for _ in 0..3 {
            assert!(client::curl(&["http://10.9.0.2:8080/"]).text().starts_with("up for "));
        }
        // Its time is real: a second later it says so.
        let deadline = Instant::now() + PATIENCE;
        while client::curl(&["http://10.9.0.2:8080/"]).text().starts_with("up for 0 s") {
            assert!(Instant::now() < deadline, "its clock stands still");
        }
    });
}

#[test]
fn a_process_says_what_it_needs() {
    let program = image::program("on-linux");
    let say = |words: &[&str]| {
        let output = Command::new(&program).args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(say(&[]).contains("usage: on-linux INTERFACE ADDRESS/LEN"));
    assert!(say(&["own0", "10.9.0.2"]).contains("`10.9.0.2` is no address with a prefix length"));
    assert!(say(&["a-name-that-is-too-long", "10.9.0.2/24"]).contains("cannot open the interface"));
}

struct Process {
    child: Child,
    output: Output,
}

impl Process {
    fn start(words: &str) -> Process {
        let mut command = Command::new(image::program("on-linux"));
        command.args(words.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Process { child, output: Output::of(vec![Box::new(stdout), Box::new(stderr)]) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
