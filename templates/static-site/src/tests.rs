//! On the workstation: `cargo test`.
//!
//! The app itself is at one end of a simulated cable, a client at the other, in virtual time.

use unikernel_http::client::Client;
use unikernel_net::{Config, Stack};
use unikernel_rt::{
    Result,
    sim::{Faults, SimPort, cable},
    spawn,
};

fn stack(port: SimPort, address: &str) -> Stack {
    Stack::new(Box::new(port), Config::fixed(address.parse().unwrap()))
}

/// Starts the app; a client for `http://10.0.0.2:8080`.
fn start() -> Client {
    let (left, right) = cable(Faults::NONE);
    spawn(super::main(stack(right, "10.0.0.2/24")));
    Client::new(stack(left, "10.0.0.1/24"))
}

#[unikernel_rt::test]
async fn the_page_and_what_it_links_to() -> Result {
    let client = start();
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/logo.svg", "image/svg+xml"),
    ] {
        let answer = client
            .get(&format!("http://10.0.0.2:8080{path}"))
            .send()
            .await?
            .error_for_status()?;
        assert_eq!(answer.header("Content-Type"), Some(kind), "{path}");
    }
    Ok(())
}

#[unikernel_rt::test]
async fn what_is_not_there_is_404() -> Result {
    let answer = start().get("http://10.0.0.2:8080/nothing").send().await?;
    assert_eq!(answer.status().code(), 404);
    Ok(())
}
