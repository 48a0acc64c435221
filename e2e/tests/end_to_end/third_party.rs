//! Crates of others on our stack, against real servers: picoserve, reqwless and rust-mqtt.

use e2e::{
    client::{curl, get},
    nginx::Nginx,
    server::{HOST, Server},
    vm::{Vm, free_port},
};

/// Longer than any window at the start.
const PAGE_LEN: usize = 100_000;

#[test]
fn picoserve_answers_curl() {
    let vm = Vm::serving("third-party", "");
    assert_eq!(curl(&[&vm.url("/")]).text(), "served by picoserve\n");
    assert_eq!(curl(&["-d", "said twice", &vm.url("/echo")]).text(), "said twice");
    assert_eq!(curl(&["-o", "/dev/null", "-w", "%{http_code}", &vm.url("/missing")]).text(), "404");
    for _ in 0..100 {
        assert_eq!(get(vm.port, "/").body, b"served by picoserve\n");
    }
}

/// One unikernel fetches from the other: `static-site` serves, through this machine's loopback.
#[test]
fn reqwless_fetches_from_another_machine() {
    let site = Vm::serving("static-site", "");
    let page = curl(&[&site.url("/style.css")]);
    let vm = Vm::serving("third-party", &format!("fetch=http://{HOST}:{}/style.css", site.port));
    assert_eq!(curl(&[&vm.url("/fetch")]).text(), format!("200 {}", page.text()));
}

#[test]
fn reqwless_fetches_from_nginx() {
    let (home, site) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let page = "0123456789".repeat(PAGE_LEN / 10);
    std::fs::write(site.path().join("page"), &page).unwrap();
    let nginx = Nginx::start(home.path(), site.path(), "nginx");
    let vm = Vm::serving("third-party", &format!("fetch=http://{HOST}:{}/page", nginx.port));
    assert!(curl(&[&vm.url("/fetch")]).text() == format!("200 {page}"), "another page");
    drop(nginx);
    let failed = get(vm.port, "/fetch");
    assert!(failed.status == 502 && failed.body.starts_with(b"reqwless: Network("), "{failed:?}");
}

#[test]
fn rust_mqtt_hears_itself_and_is_heard_over_mosquitto() {
    let broker = Server::mosquitto(free_port());
    let vm = Vm::serving("third-party", &broker.word("mqtt"));
    let text = curl(&[&vm.url("/mqtt/hello")]);
    assert_eq!(text.text(), "hello");
    drop(broker);
    assert_eq!(get(vm.port, "/mqtt/hello").status, 502);
}
