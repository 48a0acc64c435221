//! The port: [`Inspect`].

use crate::{
    challenge::{Gate, Refusal, SCHEME},
    key::Key,
    limits::KEEP_ALIVE,
    views,
};
use alloc::{
    format,
    rc::Rc,
    string::{String, ToString},
};
use core::{
    cell::{Cell, RefCell},
    fmt::Display,
    net::SocketAddr,
};
use unikernel_http::{Accept, IntoResponse, Next, Request, Response, Router, Status, from_fn, serve};
use unikernel_net::{Listener, Stack, Stream};
use unikernel_rt::{Acquire, Error, Machine, Result, args, entropy, heap, log::info, spawn_named, time::Instant};

/// Whether and how one may look inside. As an argument of `main` it is what the boot arguments `inspect=PORT` and
/// `inspect-key=KEY` say; without them, nothing is opened.
///
/// Set up by the program instead, and asked:
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::client::Client;
/// use unikernel_inspect::{Inspect, Key, challenge, wire};
/// # use unikernel_net::{Config, Stack};
///
/// # let (left, right) = unikernel_rt::sim::cable(unikernel_rt::sim::Faults::NONE);
/// # let near = Stack::new(Box::new(left), Config::fixed("10.0.0.1/24".parse()?));
/// # let stack = Stack::new(Box::new(right), Config::fixed("10.0.0.2/24".parse()?));
/// let key: Key = "e9a8c7d6b5a49382".parse()?;
/// Inspect::new(9091, key.clone()).open(&stack)?;
///
/// // As `cargo unikernel ps` does it on another machine.
/// let client = Client::new(near);
/// let url = "http://10.0.0.2:9091/ps?max=100";
/// let asked = client.get(url).send().await?;
/// assert_eq!(asked.status().code(), 401);
/// let question = asked.header("WWW-Authenticate").and_then(|header| challenge::parameter(header, "question")).unwrap();
/// let answer = challenge::authorization(&key, question, "GET", "/ps?max=100");
/// let tasks: wire::Tasks = client.get(url).header("Authorization", answer).send().await?.json().await?;
/// assert!(tasks.tasks.iter().any(|task| task.name == "network"));
/// # let asked = client.get(url).send().await?;
/// # let question = asked.header("WWW-Authenticate").and_then(|header| challenge::parameter(header, "question")).unwrap();
/// # let wrong = challenge::authorization(&"some other key...".parse()?, question, "GET", "/ps?max=100");
/// # assert_eq!(client.get(url).header("Authorization", wrong).send().await?.status().code(), 403);
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Default)]
pub struct Inspect {
    port: Option<u16>,
    key: Option<Key>,
}

const NO_KEY: &str = "boot argument `inspect`: give a key beside it, `inspect-key=KEY`, with at least 16 characters; make \
    one with `openssl rand -hex 16`";
const NO_PORT: &str = "boot argument `inspect-key`: give a port beside it, `inspect=PORT`, or leave both away";

impl Acquire for Inspect {
    async fn acquire(_: &mut Machine) -> Result<Inspect> {
        let port = args::take("inspect")?;
        let key = args::take::<String>("inspect-key")?.map(|key| key.parse::<Key>()).transpose();
        // Not by `args::take`, whose errors show the value.
        let key = key.map_err(|error| Error::msg(format!("boot argument `inspect-key`: {error}")))?;
        match (port, &key) {
            (None, Some(_)) => Err(Error::msg(NO_PORT)),
            _ => Ok(Inspect { port, key }),
        }
    }
}

impl Inspect {
    /// On that port, for those who know that key, whatever the boot arguments say.
    pub fn new(port: u16, key: Key) -> Inspect {
        Inspect { port: Some(port), key: Some(key) }
    }

    /// Opens the port, with a task of its own, if one was asked for.
    ///
    /// # Errors
    ///
    /// Somebody listens on that port, or there is no key.
    pub fn open(self, stack: &Stack) -> Result {
        let Some(port) = self.port else { return Ok(()) };
        let Some(key) = self.key else { return Err(Error::msg(NO_KEY)) };
        let listener = listen(stack, port)?;
        let router = guarded(listener.router(stack), key);
        spawn_named("inspect", serve(listener, router));
        Ok(())
    }

    /// The same over TLS. Where `acceptor` requires a certificate of its clients, no key is needed; where there is one it is
    /// asked for, too.
    ///
    /// # Errors
    ///
    /// Somebody listens on that port, or there is neither a key nor a required certificate.
    #[cfg(feature = "tls")]
    pub fn open_tls(self, stack: &Stack, acceptor: unikernel_tls::TlsAcceptor) -> Result {
        let Some(port) = self.port else { return Ok(()) };
        if self.key.is_none() && !acceptor.requires_client_certificates() {
            return Err(Error::msg(NO_KEY));
        }
        let listener = listen(stack, port)?;
        let router = match self.key {
            Some(key) => guarded(listener.router(stack), key),
            None => listener.router(stack),
        };
        spawn_named("inspect", unikernel_http::serve_tls(listener, acceptor, router));
        Ok(())
    }
}

fn listen(stack: &Stack, port: u16) -> Result<Watched> {
    let in_use = |error: &dyn Display| Error::msg(format!("boot argument `inspect={port}`: {error}"));
    let listener = stack.listen(port).map_err(|error| in_use(&error))?;
    info!("inspect: open on port {}", listener.local_port());
    heap::watch_sites();
    Ok(Watched(listener))
}

/// A listener whose connections end when their peer has vanished.
struct Watched(Listener);

impl Watched {
    fn router(&self, stack: &Stack) -> Router {
        views::router(stack, self.0.local_port())
    }
}

impl Accept for Watched {
    type Stream = Stream;

    async fn accept(&mut self) -> Stream {
        let mut stream = self.0.accept().await;
        stream.set_keep_alive(Some(KEEP_ALIVE));
        stream
    }

    fn close(&mut self) {
        self.0.close();
    }

    fn peer(stream: &Stream) -> Option<SocketAddr> {
        Some(stream.peer())
    }
}

/// The router, for those who know the key.
fn guarded(router: Router, key: Key) -> Router {
    let gate = Rc::new(RefCell::new(Gate::new(key, random())));
    let life = Cell::new(entropy::generation());
    router.layer(from_fn(move |request: Request, next: Next| {
        let generation = entropy::generation();
        if life.replace(generation) != generation {
            gate.borrow_mut().begin_life(random());
        }
        let verdict = judge(&mut gate.borrow_mut(), &request);
        async move {
            match verdict {
                Ok(()) => next.run(request).await,
                Err(response) => response,
            }
        }
    }))
}

fn random() -> [u8; 32] {
    let mut random = [0; 32];
    entropy::fill(&mut random);
    random
}

fn judge(gate: &mut Gate, request: &Request) -> core::result::Result<(), Response> {
    let target = match request.query() {
        Some(query) => format!("{}?{query}", request.path()),
        None => request.path().to_string(),
    };
    let (header, method, now) = (request.header("Authorization"), request.method(), Instant::now());
    let Err(refusal) = gate.admit(header, method.as_str(), &target, now) else { return Ok(()) };
    Err(match refusal {
        Refusal::Ask => {
            let question = format!("{SCHEME} question=\"{}\"", gate.question(now, entropy::u64()));
            (Status::UNAUTHORIZED, "this port is for `cargo unikernel ps` and the like, with a key\n")
                .into_response()
                .with_header("WWW-Authenticate", &question)
        }
        Refusal::WrongKey => (Status::FORBIDDEN, "this is not the key of this machine\n").into_response(),
        Refusal::Busy => (Status::TOO_MANY_REQUESTS, "too many requests; try again in half a minute\n").into_response(),
    })
}
