//! Crates of others, unchanged, on our stack. picoserve serves on port 8080; what it is asked for,
//! reqwless fetches (`/fetch`, from the boot argument `fetch=URL`) and rust-mqtt publishes and receives
//! (`/mqtt/{text}`, over the broker of `mqtt=ADDR:PORT`).
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

mod fetch;
mod mqtt;
mod pico;

use alloc::{rc::Rc, string::String};
use core::{cell::RefCell, net::SocketAddr};
use pico::{Clock, Connection};
use picoserve::{
    Config, Router, Server,
    response::StatusCode,
    routing::{PathRouter, get, parse_path_segment, post},
};
use unikernel_net::Stack;
use unikernel_rt::{Args, Result, spawn};

/// Where the others are.
struct Peers {
    stack: Stack,
    fetch: Option<String>,
    mqtt: Option<SocketAddr>,
}

/// A request's head and small bodies must fit.
const BUFFER_LEN: usize = 2048;

#[unikernel_rt::main]
async fn main(args: Args, stack: Stack) -> Result {
    let peers = Peers { stack: stack.clone(), fetch: args.get("fetch")?, mqtt: args.get("mqtt")? };
    args.finish()?;
    serve(&stack, peers).await
}

async fn serve(stack: &Stack, peers: Peers) -> Result {
    let mut listener = stack.listen(8080)?;
    let peers = Rc::new(peers);
    loop {
        let stream = listener.accept().await;
        let app = app(peers.clone());
        spawn(async move {
            let (config, mut buffer) = (Config::const_default(), [0; BUFFER_LEN]);
            let server = Server::custom(&app, Clock, &config, &mut buffer);
            // Whatever ended it, the connection is closed.
            let _ = server.serve(Connection(RefCell::new(stream))).await;
        });
    }
}

fn app(peers: Rc<Peers>) -> Router<impl PathRouter> {
    let (fetching, publishing) = (peers.clone(), peers);
    Router::new()
        .route("/", get(async || "served by picoserve\n"))
        .route("/echo", post(async |body: String| body))
        .route("/fetch", get(async move || answer(fetch::fetch(&fetching.stack, fetching.fetch.as_deref()).await)))
        .route(
            ("/mqtt", parse_path_segment::<String>()),
            get(async move |text: String| answer(mqtt::round_trip(&publishing.stack, publishing.mqtt, &text).await)),
        )
}

fn answer(result: Result<String, String>) -> (StatusCode, String) {
    match result {
        Ok(text) => (StatusCode::OK, text),
        Err(reason) => (StatusCode::BAD_GATEWAY, reason),
    }
}
