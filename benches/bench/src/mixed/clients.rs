//! The kinds of clients, from polite to rude.

use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use super::{Site, garbage};
use crate::chance::Random;
use crate::client::{Client, Trouble};

/// A kind of client.
pub struct Kind {
    /// What it does.
    pub name: &'static str,
    /// How many of them are at work at a time.
    pub clients: usize,
    /// Whether it shows how long others have to wait.
    pub is_probe: bool,
    /// A client's life.
    pub run: fn(&Site, &mut Random) -> Result<(), Trouble>,
}

const fn kind(name: &'static str, clients: usize, run: fn(&Site, &mut Random) -> Result<(), Trouble>) -> Kind {
    Kind { name, clients, is_probe: false, run }
}

/// Everybody who takes part.
pub const KINDS: &[Kind] = &[
    Kind { name: "probe", clients: 1, is_probe: true, run: probe },
    kind("keeps alive", 6, keep_alive),
    kind("asks ahead", 2, ask_ahead),
    kind("closes", 4, close),
    kind("aborts a request", 2, abort_request),
    kind("aborts an answer", 3, abort_answer),
    kind("sends nonsense", 2, nonsense),
    kind("sends a malformed request", 2, malformed),
    kind("reads slowly", 2, read_slowly),
    kind("writes slowly", 2, write_slowly),
];

/// Asks ten times a second on a new connection.
fn probe(site: &Site, _: &mut Random) -> Result<(), Trouble> {
    let (path, body) = &site.pages[0];
    let mut client = Client::connect(site.address)?;
    client.ask(path, "Connection: close\r\n")?;
    let answer = client.expect_ok()?;
    compare(site, path, body, &answer)?;
    thread::sleep(Duration::from_millis(100));
    Ok(())
}

fn keep_alive(site: &Site, random: &mut Random) -> Result<(), Trouble> {
    let mut client = Client::connect(site.address)?;
    for _ in 0..1 + random.below(200) {
        if site.is_over() {
            break;
        }
        let (path, body) = site.page(random);
        client.ask(path, "")?;
        let answer = client.expect_ok()?;
        compare(site, path, body, &answer)?;
    }
    Ok(())
}

/// Pipelines: several requests before the first answer.
fn ask_ahead(site: &Site, random: &mut Random) -> Result<(), Trouble> {
    let mut client = Client::connect(site.address)?;
    let pages: Vec<_> = (0..2 + random.below(14)).map(|_| site.page(random)).collect();
    for (path, _) in &pages {
        client.ask(path, "")?;
    }
    for (path, body) in pages {
        let answer = client.expect_ok()?;
        compare(site, path, body, &answer)?;
    }
    Ok(())
}

fn close(site: &Site, random: &mut Random) -> Result<(), Trouble> {
    let (path, body) = site.page(random);
    let mut client = Client::connect(site.address)?;
    client.ask(path, "Connection: close\r\n")?;
    let answer = client.expect_ok()?;
    compare(site, path, body, &answer)?;
    match client.receive() {
        Err(Trouble::Closed(_)) => Ok(()),
        Err(trouble) => Err(trouble),
        Ok(_) => Err(Trouble::Wrong("bytes after the last answer".into())),
    }
}

/// Goes away in the middle of a request, sometimes with a goodbye.
fn abort_request(site: &Site, random: &mut Random) -> Result<(), Trouble> {
    let mut client = Client::connect(site.address)?;
    let request = b"GET /100k.bin HTTP/1.1\r\nHost: guest\r\nX-Filler: 123456789\r\n";
    client.send(&request[..random.below(request.len())])?;
    if random.below(2) == 0 {
        client.reset();
    }
    thread::sleep(Duration::from_millis(10));
    Ok(())
}

/// Goes away in the middle of an answer.
fn abort_answer(site: &Site, random: &mut Random) -> Result<(), Trouble> {
    let (path, body) = &site.pages[2 + random.below(2)];
    let mut client = Client::connect(site.address)?;
    client.ask(path, "")?;
    client.head()?;
    let enough = random.below(100_000);
    let mut came = client.take();
    while came.len() < enough {
        client.receive()?;
        came.extend(client.take());
    }
    if !body.starts_with(&came) {
        return Err(Trouble::Wrong(format!("{path} begins with other bytes")));
    }
    if random.below(2) == 0 {
        client.reset();
    }
    Ok(())
}

/// Sends random bytes: any refusal will do, with or without words.
fn nonsense(site: &Site, random: &mut Random) -> Result<(), Trouble> {
    let len = 1 + random.below(2_000);
    refused(site, &random.bytes(len))
}

/// Sends something that looks like a request and must be refused.
fn malformed(site: &Site, random: &mut Random) -> Result<(), Trouble> {
    refused(site, garbage::MALFORMED[random.below(garbage::MALFORMED.len())])
}

fn refused(site: &Site, bytes: &[u8]) -> Result<(), Trouble> {
    let mut client = Client::connect(site.address)?;
    // The guest may refuse and close before all was sent.
    if let Err(trouble @ Trouble::Stalled(_)) = client.send(bytes) {
        return Err(trouble);
    }
    let _ = client.stream.shutdown(Shutdown::Write);
    match client.head() {
        Ok((400..600, _)) => site.right_answer(),
        Err(Trouble::Closed(_)) => {}
        Ok((status, _)) => {
            let sent = bytes[..bytes.len().min(80)].escape_ascii();
            return Err(Trouble::Wrong(format!("status {status} for {sent}")));
        }
        Err(trouble) => return Err(trouble),
    }
    thread::sleep(Duration::from_millis(5));
    Ok(())
}

/// Takes a few kilobytes at a time, so that the guest must wait for its window.
fn read_slowly(site: &Site, random: &mut Random) -> Result<(), Trouble> {
    let (path, body) = &site.pages[2 + random.below(2)];
    let mut client = Client::connect(site.address)?;
    let _ = SockRef::from(&client.stream).set_recv_buffer_size(4096);
    client.ask(path, "Connection: close\r\n")?;
    client.head()?;
    let mut came = client.take();
    for _ in 0..200 {
        if came.len() == body.len() || site.is_over() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
        client.receive()?;
        came.extend(client.take());
    }
    if !body.starts_with(&came) {
        return Err(Trouble::Wrong(format!("{path} has other bytes")));
    }
    site.right_answer();
    Ok(())
}

/// Sends a request byte by byte.
fn write_slowly(site: &Site, random: &mut Random) -> Result<(), Trouble> {
    let (path, body) = &site.pages[random.below(2)];
    let mut client = Client::connect(site.address)?;
    for byte in format!("GET {path} HTTP/1.1\r\nHost: guest\r\n\r\n").into_bytes() {
        client.send(&[byte])?;
        thread::sleep(Duration::from_millis(20));
    }
    let answer = client.expect_ok()?;
    compare(site, path, body, &answer)
}

fn compare(site: &Site, path: &str, want: &[u8], came: &[u8]) -> Result<(), Trouble> {
    if want == came {
        site.right_answer();
        return Ok(());
    }
    let (came, want) = (came.len(), want.len());
    Err(Trouble::Wrong(format!("{path}: {came} bytes that are not its {want}")))
}
