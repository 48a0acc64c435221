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

/// Sends a request, with a body if it is not empty; `STATUS BODY` of what comes back.
async fn ask(client: &Client, method: &str, path: &str, body: &str) -> Result<String> {
    let mut request = client.request(method, &format!("http://10.0.0.2:8080{path}"));
    if !body.is_empty() {
        request = request
            .header("Content-Type", "application/json")
            .body(body.to_owned());
    }
    let answer = request.send().await?;
    let status = answer.status().code();
    Ok(format!("{status} {}", answer.text().await?))
}

#[unikernel_rt::test]
async fn notes_are_kept_listed_and_removed() -> Result {
    let client = start();
    for (method, path, body, expected) in [
        ("GET", "/notes", "", "200 []"),
        (
            "POST",
            "/notes",
            r#"{"text":"milk"}"#,
            r#"201 {"id":1,"text":"milk"}"#,
        ),
        (
            "POST",
            "/notes",
            r#"{"text":"tea"}"#,
            r#"201 {"id":2,"text":"tea"}"#,
        ),
        ("GET", "/notes/2", "", r#"200 {"id":2,"text":"tea"}"#),
        ("DELETE", "/notes/1", "", "204 "),
        ("GET", "/notes", "", r#"200 [{"id":2,"text":"tea"}]"#),
    ] {
        assert_eq!(
            ask(&client, method, path, body).await?,
            expected,
            "{method} {path}"
        );
    }
    Ok(())
}

#[unikernel_rt::test]
async fn wrong_requests_are_refused() -> Result {
    let client = start();
    for (method, path, body, status) in [
        ("POST", "/notes", "milk", "400 "),
        ("POST", "/notes", r#"{"title":"milk"}"#, "422 "),
        ("GET", "/notes/7", "", "404 "),
        ("DELETE", "/notes/7", "", "404 "),
        ("GET", "/notes/first", "", "400 "),
    ] {
        let answer = ask(&client, method, path, body).await?;
        assert!(answer.starts_with(status), "{method} {path}: {answer}");
    }
    Ok(())
}
