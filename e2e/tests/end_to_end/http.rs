//! Real clients and the finer points of HTTP/1.1, on q35.

use e2e::{
    client::{self, curl},
    noise::Noise,
    vm::Vm,
};
use std::{
    fs,
    io::{BufReader, Write},
};

#[test]
fn curl_keeps_the_connection() {
    let vm = Vm::serving("static-site", "");
    let url = vm.url("/");
    let shown = curl(&["-v", "-o", "/dev/null", "-o", "/dev/null", "-w", "%{http_code} %{num_connects}\n", &url, &url]);
    assert_eq!(shown.text(), "200 1\n200 0\n", "{}", shown.stderr);
}

#[test]
fn curl_asks_for_ranges() {
    let vm = Vm::serving("static-site", "");
    let url = vm.url("/");
    let whole = curl(&[&url]).stdout;
    let len = whole.len();
    for (range, expected) in [("0-4", 0..5), ("10-19", 10..20), ("-7", len - 7..len), ("5-", 5..len)] {
        let part = curl(&["-r", range, "-w", "%{stderr}%{http_code}", &url]);
        assert_eq!((part.stdout.as_slice(), part.stderr.as_str()), (&whole[expected], "206"), "{range}");
    }
    let beyond = curl(&["-r", "999999999-", "-o", "/dev/null", "-w", "%{http_code}", &url]);
    assert_eq!(beyond.text(), "416");
}

#[test]
fn curl_waits_for_100_continue() {
    let vm = Vm::serving("e2e-guest", "");
    let expect = ["-v", "-H", "Expect: 100-continue", "--expect100-timeout", "60"];
    // One answers while it reads, the other when it has read all.
    for path in ["/echo", "/echo-whole"] {
        let shown = curl(&[&expect[..], &["-d", "hello", &vm.url(path)]].concat());
        assert_eq!(shown.text(), "hello", "{path}");
        assert!(shown.stderr.contains("< HTTP/1.1 100 Continue"), "{path}: {}", shown.stderr);
    }
}

#[test]
fn curl_speaks_http_1_0() {
    let vm = Vm::serving("static-site", "");
    let shown = curl(&["--http1.0", "-o", "/dev/null", "-w", "%{http_code} %{num_connects}\n", &vm.url("/")]);
    assert_eq!(shown.text(), "200 1\n");
}

#[test]
fn curl_uploads_50_mb_in_chunks_and_gets_them_back() {
    let vm = Vm::serving("e2e-guest", "");
    let folder = tempfile::tempdir().unwrap();
    let (sent, received) = (folder.path().join("sent"), folder.path().join("received"));
    fs::write(&sent, Noise::new(50).bytes(50_000_000)).unwrap();
    let (sent_word, received_word) = (sent.to_str().unwrap(), received.to_str().unwrap());
    let chunked = ["-X", "POST", "-H", "Transfer-Encoding: chunked", "-T", sent_word, "-o", received_word];
    let shown = curl(&[&chunked[..], &["-w", "%{http_code} %{size_upload}", &vm.url("/echo")]].concat());
    assert!(shown.text().starts_with("200 "), "{}", shown.text());
    let (sent, received) = (fs::read(sent).unwrap(), fs::read(received).unwrap());
    let same = sent.iter().zip(&received).take_while(|(a, b)| a == b).count();
    assert!(same == sent.len() && same == received.len(), "{} bytes came back, the first {same} right", received.len());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let vm = Vm::serving("e2e-guest", "");
    let mut stream = client::connect(vm.port).unwrap();
    let paths = ["/number/1", "/missing", "/number/2", "/number/3"];
    let requests: String = paths.iter().map(|path| format!("GET {path} HTTP/1.1\r\nHost: e2e\r\n\r\n")).collect();
    stream.write_all(requests.as_bytes()).unwrap();
    let mut stream = BufReader::new(stream);
    for (status, body) in [(200, Some("1")), (404, None), (200, Some("2")), (200, Some("3"))] {
        let response = client::read_response(&mut stream).unwrap();
        assert_eq!(response.status, status);
        assert!(body.is_none_or(|body| response.body == body.as_bytes()), "{response:?}");
    }
}
