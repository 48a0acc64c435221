//! The app itself, on a simulated cable and a simulated disk that loses power.

use unikernel_blockfs::{Disk, Volume};
use unikernel_net::{Config, Read, Stack, Write};
use unikernel_rt::{
    sim::{Faults, SimDisk, SimPort, Survivors, cable},
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

/// Starts the app on this disk.
fn start(sim: &SimDisk) -> Stack {
    let (left, right) = cable(Faults::NONE);
    unikernel_rt::spawn(super::main(stack(right, "10.0.0.2/24"), Disk::new(sim.device())));
    stack(left, "10.0.0.1/24")
}

async fn check(client: &Stack, line: &str, body: &str, expected: (&str, &str)) {
    let (status, answer) = ask(client, line, body.as_bytes()).await;
    let answer = String::from_utf8(answer).unwrap();
    assert_eq!((&*status, &*answer), expected, "{line} {body}");
}

#[unikernel_rt::test]
async fn notes_are_written_read_listed_and_removed() {
    let client = start(&SimDisk::new(8 << 20));
    check(&client, "GET /notes/7", "", ("404", "cannot open `notes/7`: there is no such file or folder\n")).await;
    check(&client, "PUT /notes/7", "\"milk\"", ("201", "")).await;
    check(&client, "GET /notes/7", "", ("200", "\"milk\"")).await;
    check(&client, "PUT /notes/7", "\"tea\"", ("204", "")).await;
    check(&client, "PUT /notes/a_b-C", "\"\"", ("201", "")).await;
    check(&client, "GET /notes", "", ("200", "[\"7\",\"a_b-C\"]")).await;
    check(&client, "DELETE /notes/a_b-C", "", ("204", "")).await;
    check(&client, "GET /notes", "", ("200", "[\"7\"]")).await;
    for (line, body) in [("PUT /notes/8", "5"), ("PUT /notes/8", "\"open"), ("PUT /notes/..%2f8", "\"x\"")] {
        assert_eq!(ask(&client, line, body.as_bytes()).await.0, "400", "{line} {body}");
    }
    check(&client, "GET /notes", "", ("200", "[\"7\"]")).await;
}

#[unikernel_rt::test]
async fn an_acknowledged_note_survives_a_loss_of_power() {
    let sim = SimDisk::new(8 << 20);
    sim.record();
    let client = start(&sim);
    let mut acknowledged = Vec::new();
    for number in 0..10 {
        let note = format!("\"note {number}\"");
        assert!(ask(&client, &format!("PUT /notes/{}", number % 4), note.as_bytes()).await.0.starts_with('2'));
        acknowledged.push((sim.recorded(), number % 4, note));
    }
    let recording = sim.end_recording();
    for (count, id, note) in acknowledged {
        let found = recording.cut(count, Survivors::None);
        let volume = Volume::mount(Disk::new(found.device())).await.unwrap();
        assert_eq!(volume.read(&format!("notes/{id}"), 100).await.unwrap(), note.as_bytes());
    }
}

/// At any moment a note is not there or is whole, also one that is new.
#[unikernel_rt::test]
async fn no_note_is_ever_half() {
    let sim = SimDisk::new(1 << 20);
    let client = start(&sim);
    check(&client, "GET /notes", "", ("200", "[]")).await;
    sim.record();
    let note = |number: usize| format!("\"{}\"", "x".repeat([1, 300, 6000][number % 3] + number));
    for number in 0..9 {
        assert!(ask(&client, &format!("PUT /notes/{}", number % 5), note(number).as_bytes()).await.0.starts_with('2'));
    }
    let recording = sim.end_recording();
    for count in 0..=recording.len() {
        for survivors in [Survivors::None, Survivors::All, Survivors::Some(count as u64), Survivors::Torn(count as u64)]
        {
            let found = recording.cut(count, survivors);
            let volume = Volume::mount(Disk::new(found.device())).await.unwrap();
            for id in 0..5 {
                let Ok(text) = volume.read(&format!("notes/{id}"), 10_000).await else { continue };
                let is_whole = [id, id + 5].iter().any(|number| text == note(*number).as_bytes());
                assert!(is_whole, "note {id} after {count} {survivors:?}: {} bytes", text.len());
            }
            assert!(volume.list("").await.unwrap().len() == 1, "a draft is left");
        }
    }
}

#[unikernel_rt::test]
async fn a_disk_with_something_else_is_refused() {
    let sim = SimDisk::new(8 << 20);
    sim.poke(0, b"somebody's treasure");
    let (_, right) = cable(Faults::NONE);
    let error = super::main(stack(right, "10.0.0.2/24"), Disk::new(sim.device())).await.unwrap_err();
    assert!(error.to_string().contains("no volume of a known format"), "{error}");
    assert_eq!(sim.peek(0, 19), b"somebody's treasure");
}
