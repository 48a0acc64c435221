//! The reverse proxy of the examples, in front of nginx, for curl.

use e2e::{
    client::{PAUSE, curl},
    nginx::Nginx,
    noise::Noise,
    vm::{Vm, free_port},
};
use std::{fs, path::PathBuf, thread, time::Instant};
use tempfile::TempDir;

const TOKEN: &str = "Authorization: Bearer 0123456789abcdef";

/// A proxy, what stands behind it, and the files.
struct Stage {
    vm: Vm,
    backends: Vec<Nginx>,
    folder: TempDir,
    https: u16,
    admin: u16,
}

impl Stage {
    fn new() -> Stage {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("site")).unwrap();
        let backends: Vec<_> = ["one", "two"].map(|name| start(&folder, name, free_port())).into();
        let (https, admin) = (free_port(), free_port());
        let words = format!(
            "--port {https}:8443 --port {admin}:9443 backend=10.0.2.2:{},10.0.2.2:{} health=/name admin={}",
            backends[0].port,
            backends[1].port,
            TOKEN.rsplit(' ').next().unwrap()
        );
        let vm = Vm::serving("proxy", &words);
        Stage { vm, backends, folder, https, admin }
    }

    fn https(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.https)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("site").join(name)
    }

    fn name(&self) -> String {
        curl(&[&self.vm.url("/name")]).text().to_owned()
    }
}

fn start(folder: &TempDir, name: &str, port: u16) -> Nginx {
    Nginx::start_on(port, &folder.path().join(name), &folder.path().join("site"), name)
}

fn example(file: &str) -> String {
    format!("{}/../examples/proxy/{file}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn files_go_through_in_both_directions() {
    let stage = Stage::new();
    let bytes = Noise::new(7).bytes(30_000_000);
    fs::write(stage.file("down"), &bytes).unwrap();
    let certificate = example("tls/example.pem");
    for url in [stage.vm.url("/down"), stage.https("/down")] {
        assert!(curl(&["--cacert", &certificate, &url]).stdout == bytes, "{url}");
        let head = curl(&["--cacert", &certificate, "-I", &url]);
        assert!(head.text().contains("Content-Length: 30000000\r\n"), "{}", head.text());
    }
    let sent = stage.file("down");
    for (url, name) in [(stage.vm.url("/up1"), "up1"), (stage.https("/up2"), "up2")] {
        let code = curl(&["--cacert", &certificate, "-T", sent.to_str().unwrap(), "-w", "%{http_code}", &url]);
        assert_eq!(code.text(), "201");
        assert!(fs::read(stage.file(name)).unwrap() == bytes, "{url}");
    }
    let part = curl(&["-r", "1000000-1000999", &stage.vm.url("/down")]);
    assert!(part.stdout == bytes[1_000_000..1_001_000]);
}

#[test]
fn a_backend_dies_and_comes_back() {
    let mut stage = Stage::new();
    let mut names = [stage.name(), stage.name()];
    names.sort();
    assert_eq!(names, ["one http", "two http"]);
    let port = stage.backends[0].port;
    drop(stage.backends.remove(0));
    for _ in 0..10 {
        assert_eq!(stage.name(), "two http");
    }
    stage.vm.says(&format!("backend 10.0.2.2:{port} is down: connection refused"));
    stage.backends.push(start(&stage.folder, "one", port));
    stage.vm.says(&format!("backend 10.0.2.2:{port} is up"));
    let mut names = [stage.name(), stage.name()];
    names.sort();
    assert_eq!(names, ["one http", "two http"]);
}

#[test]
fn the_certificate_is_replaced_while_it_runs() {
    let stage = Stage::new();
    let (first, second) = (example("tls/example.pem"), example("src/tests/second.pem"));
    let name = |certificate: &str| curl(&["--cacert", certificate, &stage.https("/name")]).text().to_owned();
    assert!(name(&first).ends_with(" https"));
    let admin = format!("https://localhost:{}/certificate", stage.admin);
    let refused = curl(&["--cacert", &first, "-T", &second, "-w", "%{http_code}", "-o", "/dev/null", &admin]);
    assert_eq!(refused.text(), "401");
    let taken = curl(&["--cacert", &first, "-H", TOKEN, "-T", &second, "-w", "%{http_code}", &admin]);
    assert_eq!(taken.text(), "204");
    assert!(name(&second).ends_with(" https"));
    assert!(fails(&first, &stage.https("/name")), "the old certificate is still shown");
}

/// Whether curl refuses the server's certificate (exit code 60).
fn fails(certificate: &str, url: &str) -> bool {
    let words = ["-sS", "--max-time", "60", "--cacert", certificate, url];
    std::process::Command::new("curl").args(words).output().unwrap().status.code() == Some(60)
}

/// A client that stops reading holds the backend back: the proxy has 64 MB, the file is larger.
#[test]
fn a_slow_client_does_not_fill_the_memory() {
    let stage = Stage::new();
    fs::write(stage.file("large"), vec![b'x'; 200_000_000]).unwrap();
    let url = stage.vm.url("/large");
    let mut slow = std::process::Command::new("curl")
        .args(["-sS", "--limit-rate", "10k", "-o", "/dev/null", &url])
        .spawn()
        .unwrap();
    let start = Instant::now();
    while start.elapsed().as_secs() < 5 {
        assert!(stage.name().ends_with(" http"), "others are served meanwhile");
        thread::sleep(PAUSE);
    }
    slow.kill().unwrap();
    slow.wait().unwrap();
    assert!(!stage.vm.said().contains("memory"), "{}", stage.vm.said());
}
