//! TLS in front, and a certificate that changes while the proxy runs.

use super::{Balance, TOKEN, ToProxy, backend, show, start};
use unikernel_http::{Request, Router, client::Client};
use unikernel_net::Stack;
use unikernel_tls::{Roots, TlsConnector};

static SECOND: &[u8] = include_bytes!("second.pem");

/// A client that trusts that certificate only.
fn trusting(stack: &Stack, pem: &[u8]) -> Client {
    let tls = TlsConnector::new(Roots::from_pem(pem).unwrap()).unwrap();
    Client::builder(ToProxy(stack.clone())).tls(tls).build()
}

async fn get(client: &Client, url: &str) -> String {
    match client.get(url).send().await {
        Ok(response) => show(response).await,
        Err(error) => error.to_string(),
    }
}

async fn put(client: &Client, token: &str, pem: &[u8]) -> String {
    let request = client.put("https://localhost:9443/certificate").bearer_auth(token).body(pem.to_vec());
    show(request.send().await.unwrap()).await
}

fn with_backends() -> Stack {
    let stack = start(Balance::RoundRobin);
    for port in [8001, 8002] {
        let answer = async |request: Request| request.header("X-Forwarded-Proto").unwrap_or("").to_owned();
        drop(backend(&stack, port, Router::new().fallback(answer)));
    }
    stack
}

#[unikernel_rt::test]
async fn the_certificate_is_replaced_without_a_restart() {
    const URL: &str = "https://localhost:8443/";
    let stack = with_backends();
    let (first, second) = (trusting(&stack, crate::EXAMPLE), trusting(&stack, SECOND));
    assert_eq!(get(&first, URL).await, "200 https");
    assert!(get(&second, URL).await.contains("certificate"), "it is not this one yet");
    assert_eq!(put(&first, TOKEN, SECOND).await, "204 ");
    assert_eq!(get(&second, URL).await, "200 https");
    assert_eq!(get(&first, URL).await, "200 https", "the connection that was open goes on");
    let stranger = trusting(&stack, crate::EXAMPLE);
    assert!(get(&stranger, URL).await.contains("certificate"), "the old one is gone");
}

#[unikernel_rt::test]
async fn nobody_else_replaces_it() {
    let stack = with_backends();
    let client = trusting(&stack, crate::EXAMPLE);
    let refusal = "401 send `Authorization: Bearer TOKEN`\n";
    for token in ["x", "0123456789abcdee", "0123456789abcdefx", "0123456789abcde"] {
        assert_eq!(put(&client, token, SECOND).await, refusal);
    }
    assert_eq!(get(&client, "https://localhost:9443/status").await, refusal);
    assert_eq!(get(&client, "https://localhost:9443/nothing").await, refusal);
    let wrong = put(&client, TOKEN, b"no PEM").await;
    assert!(wrong.starts_with("422 "), "{wrong}");
    assert_eq!(get(&client, "https://localhost:8443/").await, "200 https");
}

#[unikernel_rt::test]
async fn the_backends_can_be_looked_at() {
    let stack = with_backends();
    let client = trusting(&stack, crate::EXAMPLE);
    let status = client.get("https://localhost:9443/status").bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(
        status.text().await.unwrap(),
        "[{\"address\":\"10.0.0.1:8001\",\"is_up\":true,\"requests\":0},\
         {\"address\":\"10.0.0.1:8002\",\"is_up\":true,\"requests\":0}]"
    );
}
