//! On the workstation: `cargo test`.
//!
//! The app itself is at one end of a simulated cable, clients at the other, in virtual time.

use unikernel_http::client::Client;
use unikernel_net::{Config, Read, Stack, Write};
use unikernel_rt::{
    Result, lifecycle,
    sim::{Faults, SimPort, cable},
    spawn,
    time::{Instant, sleep},
};

use {{crate_name}}::{LINE_LEN_MAX, SILENCE_MAX, count_words};

fn stack(port: SimPort, address: &str) -> Stack {
    Stack::new(Box::new(port), Config::fixed(address.parse().unwrap()))
}

/// Starts the app at 10.0.0.2; the network of its clients.
fn start() -> Stack {
    let (left, right) = cable(Faults::NONE);
    spawn(super::main(stack(right, "10.0.0.2/24")));
    stack(left, "10.0.0.1/24")
}

/// Sends pieces one after the other and closes; all that comes back.
async fn talk(clients: &Stack, pieces: &[&str]) -> Result<String> {
    let mut stream = clients.connect("10.0.0.2:7000".parse().unwrap()).await?;
    for piece in pieces {
        stream.write_all(piece.as_bytes()).await?;
        sleep(SILENCE_MAX / 2).await;
    }
    stream.shutdown();
    let (mut all, mut piece) = (Vec::new(), [0; 256]);
    while let len @ 1.. = stream.read(&mut piece).await? {
        all.extend_from_slice(&piece[..len]);
    }
    Ok(String::from_utf8_lossy(&all).into_owned())
}

#[test]
fn words() {
    for (line, count) in [("", 0), ("one", 1), ("  two  words ", 2), ("a\tb\rc", 3)] {
        assert_eq!(count_words(line.as_bytes()), count, "{line:?}");
    }
}

#[unikernel_rt::test]
async fn lines_are_answered_however_they_come() -> Result {
    let clients = start();
    for (pieces, answer) in [
        (&["one two\n"][..], "2\n"),
        (&["one", " two", " three\n"], "3\n"),
        (&["one\n\ntwo words\n"], "1\n0\n2\n"),
        (&["no end"], ""),
        (&["a\n", &"b".repeat(LINE_LEN_MAX + 1)], "1\n"),
    ] {
        assert_eq!(talk(&clients, pieces).await?, answer, "{pieces:?}");
    }
    Ok(())
}

#[unikernel_rt::test]
async fn who_says_nothing_is_sent_away() -> Result {
    let clients = start();
    let mut stream = clients.connect("10.0.0.2:7000".parse().unwrap()).await?;
    let start = Instant::now();
    assert_eq!(stream.read(&mut [0]).await?, 0);
    assert!(start.elapsed() >= SILENCE_MAX);
    Ok(())
}

#[unikernel_rt::test]
async fn it_says_how_it_is() -> Result {
    let clients = start();
    talk(&clients, &["one\n"]).await?;
    let client = Client::new(clients);
    for (path, part) in [
        ("healthz", "alive"),
        ("readyz", "ready"),
        // Of this process: other tests count, too.
        ("metrics", "\nlines_total "),
    ] {
        let url = format!("http://10.0.0.2:8080/{path}");
        let text = client
            .get(&url)
            .send()
            .await?
            .error_for_status()?
            .text()
            .await?;
        assert!(text.contains(part), "{path}: {text}");
    }
    Ok(())
}

#[unikernel_rt::test]
async fn it_ends_when_it_is_asked_to() -> Result {
    let (left, right) = cable(Faults::NONE);
    let app = spawn(super::main(stack(right, "10.0.0.2/24")));
    let clients = stack(left, "10.0.0.1/24");
    assert_eq!(talk(&clients, &["one\n"]).await?, "1\n");
    lifecycle::request_stop();
    app.await.expect("nobody aborts it")
}
