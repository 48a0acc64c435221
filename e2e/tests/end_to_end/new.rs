//! New apps, as a new user makes, builds, tests and runs them: each in a folder of its own, with a home of its own, offline.

use crate::user::User;
use e2e::{
    PATIENCE,
    client::{PAUSE, connect, get, send, try_get},
    vm::{Vm, free_port},
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

impl User {
    /// Makes an app; its folder.
    fn makes(&self, template: &str) -> PathBuf {
        let name = format!("my-{template}");
        let said = self.run(&self.folder(), "cargo", &["unikernel", "new", "--template", template, &name]);
        assert!(said.ends_with(&format!("\n    cd {name}\n    cargo run\n")), "{said}");
        self.folder().join(&name)
    }

    /// Makes an app, builds it, and runs its tests, hosted and in a machine; its folder.
    fn app(&self, template: &str) -> PathBuf {
        let folder = self.makes(template);
        self.run(&folder, "cargo", &["build"]);
        let hosted = self.run(&folder, "cargo", &["test"]);
        let passed = |said: &str| said.matches("test result: ok. ").count() > 0 && !said.contains("FAILED");
        assert!(passed(&hosted) && hosted.contains("skipped: these tests run in the virtual machine"), "{hosted}");
        let machine = self.run(&folder, "cargo", &["unikernel", "test", "--", "--accel", "tcg"]);
        assert!(passed(&machine) && machine.contains("; 0 failed"), "{machine}");
        assert!(self.run(&folder, "cargo", &["unikernel", "build"]).contains(" KiB loaded)"));
        folder
    }

    /// The app in a machine by `cargo run`, with `port` of this machine leading to its port 8080.
    fn start(&self, folder: &Path, port: u16, words: &[&str]) -> Vm {
        let ports = format!("{port}:8080");
        let words = [&["run", "--quiet", "--", "--accel", "tcg", "--timeout", "300", "--port", &ports], words].concat();
        Vm::start_command(&mut self.command(folder, "cargo", &words), port)
    }

    /// The same, as soon as it answers.
    fn serving(&self, template: &str) -> Vm {
        self.start(&self.app(template), free_port(), &[]).answers()
    }
}

fn ends_in_order(vm: Vm) {
    vm.stop();
    let end = vm.ends();
    assert_eq!(end.code, 0, "{}", end.text);
}

fn body(vm: &Vm, path: &str) -> String {
    let answer = get(vm.port, path);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    String::from_utf8(answer.body).unwrap()
}

#[test]
fn hello() {
    let user = User::new();
    let folder = user.app("hello");
    for (words, greeting) in [(&[][..], "hello, world, from"), (&["name=Ada"], "hello, Ada, from")] {
        let said = user.run(&folder, "cargo", &[&["run", "--", "--accel", "tcg"], words].concat());
        assert!(said.contains(greeting), "{said}");
    }
}

#[test]
fn http() {
    let vm = User::new().serving("http");
    assert!(body(&vm, "/").contains("<title>my-http</title>"));
    assert_eq!(body(&vm, "/hello/Ada"), "hello, Ada\n");
    ends_in_order(vm);
}

#[test]
fn json_api() {
    let vm = User::new().serving("json-api");
    assert_eq!(body(&vm, "/notes"), "[]");
    let post = "POST /notes HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 15\r\nConnection: close\r\n\r\n";
    let answer = send(vm.port, format!("{post}{{\"text\":\"milk\"}}").as_bytes());
    assert!(answer.starts_with(b"HTTP/1.1 201 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(body(&vm, "/notes"), r#"[{"id":1,"text":"milk"}]"#);
    ends_in_order(vm);
}

#[test]
fn static_site() {
    let vm = User::new().serving("static-site");
    assert!(body(&vm, "/").contains("<h1>my-static-site</h1>"));
    assert!(body(&vm, "/style.css").contains("color-scheme"));
    ends_in_order(vm);
}

#[test]
fn service() {
    let user = User::new();
    let folder = user.app("service");
    let port = free_port();
    let vm = user.start(&folder, free_port(), &["--port", &format!("{port}:7000")]).answers();
    assert_eq!(send(port, b"one two three\nfour\n"), b"3\n1\n");
    assert_eq!(body(&vm, "/readyz"), "ready\n");
    assert!(body(&vm, "/metrics").contains("\nlines_total 2\n"));
    // A client that is connected and says nothing does not keep the machine from ending.
    let _silent = connect(port).unwrap();
    ends_in_order(vm);
}

/// Waits until the page has this on it. Nothing tells when a machine was replaced by the next.
fn page_gets(vm: &Vm, text: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !try_get(vm.port, "/").is_ok_and(|answer| String::from_utf8_lossy(&answer.body).contains(text)) {
        assert!(Instant::now() < deadline, "the page never says `{text}`:\n{}", vm.said());
        thread::sleep(PAUSE);
    }
}

#[test]
fn watch_replaces_the_machine_when_there_is_another_image() {
    let user = User::new();
    let folder = user.makes("http");
    user.run(&folder, "cargo", &["unikernel", "build"]);
    let port = free_port();
    let ports = format!("{port}:8080");
    let words = ["unikernel", "watch", "--accel", "tcg", "--port", &ports];
    let vm = Vm::start_command(&mut user.command(&folder, "cargo", &words), port).answers();
    let (page, code) = (folder.join("src/home.html"), folder.join("src/lib.rs"));
    let (html, rust) = (fs::read_to_string(&page).unwrap(), fs::read_to_string(&code).unwrap());
    fs::write(&page, html.replace("It runs.", "It runs again.")).unwrap();
    page_gets(&vm, "It runs again.");
    fs::write(&code, rust.replace("fn pages", "fn pages!")).unwrap();
    vm.says("unikernel: the build failed; the machine runs on as it was; waiting for a change\n");
    page_gets(&vm, "It runs again.");
    fs::write(&page, html.replace("It runs.", "It runs for good.")).unwrap();
    fs::write(&code, &rust).unwrap();
    page_gets(&vm, "It runs for good.");
    ends_in_order(vm);
}

#[test]
fn size_accounts_for_every_byte() {
    let user = User::new();
    let folder = user.makes("http");
    let said = user.command(&folder, "cargo", &["unikernel", "size", "--json"]).output().unwrap().stdout;
    let sizes: Value = serde_json::from_slice(&said).unwrap_or_else(|error| panic!("{error}"));
    let (shares, number) = (sizes["crates"].as_array().unwrap(), |value: &Value| value.as_u64().unwrap());
    let sum: u64 = shares.iter().map(|share| number(&share["code"]) + number(&share["data"])).sum();
    assert_eq!(sum, number(&sizes["loaded"]), "{sizes}");
    for name in ["core", "my-http", "unikernel-http", "unikernel-net", "unikernel-rt"] {
        let share = shares.iter().find(|share| share["name"] == name).unwrap_or_else(|| panic!("{name} in {sizes}"));
        assert!(number(&share["code"]) > 0, "{share}");
    }
    // What belongs to nobody is little.
    let of_nobody = ["(no source)", "(other)"]
        .map(|name| shares.iter().find(|share| share["name"] == name).map_or(0, |share| number(&share["code"])));
    assert!(of_nobody.iter().sum::<u64>() * 20 < sum, "{sizes}");
}
