//! Many clients, and clients that behave badly while others want to be served.

use e2e::{
    PATIENCE,
    client::{self, connect, get, open_many_files, read_response, send},
    noise::Noise,
    vm::Vm,
};
use std::{
    io::{BufReader, Read, Write},
    net::TcpStream,
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

const REQUEST: &[u8] = b"GET /number/7 HTTP/1.1\r\nHost: e2e\r\n\r\n";

#[test]
fn a_thousand_connections_at_once() {
    open_many_files();
    let vm = Vm::serving("e2e-guest", "");
    // Each is used before the next comes: QEMU's network keeps only one connection waiting, and lets others
    // retry after a second.
    let open = |_| {
        let mut stream = connect(vm.port).unwrap();
        stream.write_all(REQUEST).unwrap();
        read_seven(&mut stream);
        stream
    };
    let mut streams: Vec<_> = (0..1000).map(open).collect();
    streams.iter_mut().for_each(|stream| stream.write_all(REQUEST).unwrap());
    streams.iter_mut().for_each(read_seven);
    drop(streams);
    connections_return_to_one(&vm);
}

fn read_seven(stream: &mut TcpStream) {
    let response = read_response(&mut BufReader::new(stream)).unwrap();
    assert_eq!((response.status, response.body.as_slice()), (200, &b"7"[..]));
}

/// `/stats` counts the connection it is asked on.
fn connections_return_to_one(vm: &Vm) {
    let deadline = Instant::now() + PATIENCE;
    let count = || String::from_utf8(get(vm.port, "/stats").body).unwrap();
    while count() != "1" {
        assert!(Instant::now() < deadline, "{} connections are left", count());
        thread::sleep(client::PAUSE);
    }
}

#[test]
fn wrk_gets_only_good_answers() {
    let vm = Vm::serving("static-site", "");
    let output = Command::new("wrk").args(["-t1", "-c64", "-d3s", &vm.url("/")]).output();
    let output = output.expect("wrk starts; script/test installs it");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("Requests/sec"), "{text}");
    assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{text}");
}

#[test]
fn clients_that_die_in_the_middle_leave_nothing_behind() {
    let vm = Vm::serving("e2e-guest", "");
    let requests: [&[u8]; 4] = [
        b"GET /num",
        b"GET /number/7 HTTP/1.1\r\nHost: e",
        b"POST /echo HTTP/1.1\r\nHost: e2e\r\nContent-Length: 1000\r\n\r\nhalf",
        b"POST /echo HTTP/1.1\r\nHost: e2e\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nhalf",
    ];
    for request in requests.iter().cycle().take(40) {
        connect(vm.port).unwrap().write_all(request).unwrap();
    }
    connections_return_to_one(&vm);
    assert_eq!(get(vm.port, "/number/7").body, b"7");
}

#[test]
fn a_client_that_reads_one_byte_a_second_delays_nobody() {
    let vm = Vm::serving("e2e-guest", "");
    let (stop, stopped) = mpsc::channel::<()>();
    let mut slow = connect(vm.port).unwrap();
    slow.write_all(b"GET /big HTTP/1.1\r\nHost: e2e\r\n\r\n").unwrap();
    let reader = thread::spawn(move || {
        let mut bytes = 0;
        loop {
            slow.read_exact(&mut [0]).unwrap();
            bytes += 1;
            if stopped.recv_timeout(Duration::from_secs(1)) != Err(mpsc::RecvTimeoutError::Timeout) {
                return bytes;
            }
        }
    });
    let start = Instant::now();
    let mut served = 0;
    while start.elapsed() < Duration::from_secs(3) {
        assert_eq!(get(vm.port, "/number/7").body, b"7");
        served += 1;
    }
    drop(stop);
    let bytes = reader.join().unwrap();
    assert!(served > 100 && (2..=5).contains(&bytes), "{served} requests, {bytes} bytes");
}

#[test]
fn garbage_is_survived() {
    let vm = Vm::serving("e2e-guest", "");
    let mut noise = Noise::new(7);
    let starts: [&[u8]; 5] = [
        b"",
        b"GET / HTTP/1.1\r\n",
        b"POST /echo HTTP/1.1\r\nHost: e2e\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: e2e\r\nContent-Length: 99999999\r\n\r\n",
        b"GET /number/7 HTTP/1.1\r\nHost: e2e\r\n\r\n",
    ];
    for round in 0..200 {
        let len = noise.below(3000);
        let bytes = [starts[round % starts.len()], &noise.bytes(len)].concat();
        let answer = send(vm.port, &bytes);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 "), "round {round}: {answer:?}");
    }
    connections_return_to_one(&vm);
    assert_eq!(get(vm.port, "/number/7").body, b"7");
}
