//! The app itself, on a simulated cable and a simulated disk.

use unikernel_blockfs::{Disk, Volume};
use unikernel_net::{Config, Read, Stack, Write};
use unikernel_rt::{
    sim::{Faults, SimDisk, SimPort, cable},
    time::{Duration, sleep},
};

fn stack(port: SimPort, address: &str) -> Stack {
    Stack::new(Box::new(port), Config::fixed(address.parse().unwrap()))
}

/// The app listens when its disk is mounted.
async fn connect(client: &Stack) -> unikernel_net::Stream {
    loop {
        match client.connect("10.0.0.2:8080".parse().unwrap()).await {
            Ok(stream) => return stream,
            Err(_) => sleep(Duration::from_millis(1)).await,
        }
    }
}

/// Sends a request to the app that was started with `start`; its answer, without most of the head.
async fn ask(client: &Stack, line: &str, body: &[u8]) -> (String, Vec<u8>) {
    let mut stream = connect(client).await;
    let head = format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let (mut all, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        match stream.read(&mut piece).await.unwrap() {
            0 => break,
            len => all.extend_from_slice(&piece[..len]),
        }
    }
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let status = String::from_utf8_lossy(&all[9..12]).into_owned();
    (status, all.split_off(end))
}

fn start(sim: &SimDisk) -> Stack {
    let (left, right) = cable(Faults::NONE);
    unikernel_rt::spawn(super::main(stack(right, "10.0.0.2/24"), Disk::new(sim.device())));
    stack(left, "10.0.0.1/24")
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 4096 * 31 + at % 251) as u8).collect()
}

#[unikernel_rt::test]
async fn what_is_uploaded_is_served() {
    let client = start(&SimDisk::new(32 << 20));
    for len in [0, 1, 5000, 3 << 20] {
        assert_eq!(ask(&client, &format!("PUT /{len}.bin"), &pattern(len)).await.0, "201");
        assert_eq!(ask(&client, &format!("GET /{len}.bin"), b"").await, ("200".into(), pattern(len)));
    }
    assert_eq!(ask(&client, "PUT /1.bin", b"new").await.0, "201");
    assert_eq!(ask(&client, "GET /1.bin", b"").await.1, b"new");
    assert_eq!(ask(&client, "PUT /.hidden", b"x").await.0, "400");
    assert_eq!(ask(&client, "GET /.incoming/0", b"").await.0, "404");
}

#[unikernel_rt::test]
async fn half_an_upload_leaves_nothing_behind() {
    let sim = SimDisk::new(32 << 20);
    let client = start(&sim);
    ask(&client, "PUT /film", b"the whole film").await;
    let mut stream = connect(&client).await;
    stream.write_all(b"PUT /film HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await.unwrap();
    stream.write_all(&pattern(500_000)).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    drop(stream);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(ask(&client, "GET /film", b"").await.1, b"the whole film");
    let volume = Volume::mount(Disk::new(sim.device())).await.unwrap();
    assert!(volume.list(super::FOLDER).await.unwrap().is_empty());
}

#[unikernel_rt::test]
async fn a_full_disk_says_so_and_goes_on() {
    let client = start(&SimDisk::new(2 << 20));
    assert_eq!(ask(&client, "PUT /small", b"small").await.0, "201");
    assert_eq!(ask(&client, "PUT /large", &pattern(2 << 20)).await.0, "507");
    assert_eq!(ask(&client, "PUT /fits", &pattern(1 << 20)).await.0, "201");
    assert_eq!(ask(&client, "GET /small", b"").await.1, b"small");
}
