//! The app itself, on a simulated cable, with an archive as its disk.

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

#[unikernel_rt::test]
async fn the_files_of_the_disk_are_served() {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in
        [("index.html", &b"<h1>from disk</h1>"[..]), ("docs/index.html", b"docs"), ("big", &[7; 300_000])]
    {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, path, bytes).unwrap();
    }
    let sim = SimDisk::from_bytes(&archive.into_inner().unwrap());
    let volume = Volume::mount(Disk::new(sim.device())).await.unwrap();
    let (left, right) = cable(Faults::NONE);
    unikernel_rt::spawn(super::main(stack(right, "10.0.0.2/24"), volume));
    let client = stack(left, "10.0.0.1/24");
    for _ in 0..2 {
        assert_eq!(ask(&client, "GET /", b"").await, ("200".into(), b"<h1>from disk</h1>".to_vec()));
        assert_eq!(ask(&client, "GET /docs/", b"").await.1, b"docs");
        assert_eq!(ask(&client, "GET /docs", b"").await.0, "308");
        assert_eq!(ask(&client, "GET /big", b"").await.1, [7; 300_000]);
        assert_eq!(ask(&client, "GET /nope", b"").await.0, "404");
    }
    // The head of a response is kept, and the disk is gone: an error, and no half of a file.
    sim.remove();
    assert_eq!(ask(&client, "GET /", b"").await.1, b"<h1>from disk</h1>");
}
