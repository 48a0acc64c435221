//! Servers that follow a script: one async function for each connection, in the order in which they are made.

use crate::common::{Wire, wires};
use embedded_io_async::Read;
use std::{cell::RefCell, collections::VecDeque, future::Future, pin::Pin, rc::Rc};
use unikernel_http::client::{BoxStream, Client, Connect, ConnectError, Error, Secure, Target};
use unikernel_rt::{spawn, task::yield_now};

type Play = Box<dyn FnOnce(Wire) -> Pin<Box<dyn Future<Output = ()>>>>;

/// The servers of a test. Clones are the same.
#[derive(Clone, Default)]
pub struct Servers(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    plays: VecDeque<Play>,
    /// To whom connections were made.
    targets: Vec<String>,
}

impl Servers {
    /// What the server does on the next connection that is made.
    pub fn on<F: Future<Output = ()> + 'static>(self, play: impl FnOnce(Wire) -> F + 'static) -> Servers {
        self.0.borrow_mut().plays.push_back(Box::new(|wire| Box::pin(play(wire))));
        self
    }

    /// Answers one request after the other on the next connection, and then keeps it open.
    pub fn answering(self, answers: &[&str]) -> Servers {
        let answers: Vec<String> = answers.iter().map(|answer| String::from(*answer)).collect();
        self.on(async move |mut wire| {
            for answer in answers {
                if !has_request(&mut wire).await {
                    return;
                }
                wire.send(answer).await;
            }
            wire.read_to_end().await;
        })
    }

    pub fn targets(&self) -> String {
        self.0.borrow().targets.join(" ")
    }
}

impl Connect for Servers {
    type Stream = Wire;

    async fn connect(&self, target: &Target) -> Result<Wire, ConnectError> {
        let mut state = self.0.borrow_mut();
        state.targets.push(format!("{}:{}", target.host, target.port));
        let play = state.plays.pop_front().ok_or(ConnectError::new("nobody listens"))?;
        let (ours, theirs) = wires(64 * 1024);
        spawn(play(theirs));
        Ok(ours)
    }
}

/// "TLS" that says a line each way.
pub struct Whisper;

impl Secure for Whisper {
    type Stream = BoxStream;

    async fn secure(&self, host: &str, mut stream: BoxStream) -> Result<BoxStream, ConnectError> {
        use embedded_io_async::Write;
        stream.write_all(format!("psst {host}\n").as_bytes()).await.map_err(ConnectError::new)?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.map_err(|_| ConnectError::new("nobody whispers"))?;
        if answer == *b"hush" { Ok(stream) } else { Err(ConnectError::new("the wrong whisper")) }
    }
}

/// Sends `bytes` in pieces of `step`, each of which the client sees by itself.
pub async fn send_in_steps(wire: &mut Wire, bytes: &[u8], step: usize) {
    for piece in bytes.chunks(step) {
        wire.send(piece).await;
        for _ in 0..3 {
            yield_now().await;
        }
    }
}

/// Reads the head of a request; false when the client is gone.
pub async fn has_request(wire: &mut Wire) -> bool {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if wire.read(&mut byte).await.unwrap() == 0 {
            return false;
        }
        head.push(byte[0]);
    }
    true
}

/// "STATUS BODY", or the error.
pub async fn get(client: &Client, url: &str) -> String {
    show(client.get(url).send().await).await
}

pub async fn show(response: Result<unikernel_http::client::Response, Error>) -> String {
    match response {
        Err(error) => format!("{error}"),
        Ok(response) => {
            let code = response.status().code();
            match response.text().await {
                Ok(text) => format!("{code} {text}"),
                Err(error) => format!("{code}, then: {error}"),
            }
        }
    }
}
