//! Listings of the page "TLS".

use alloc::string::String;
use unikernel_http::{Router, client::Client, get, serve_tls};
use unikernel_net::{Read, Stack, Write};
use unikernel_rt::{Modules, Result};
use unikernel_tls::{ClientCertificates, Identity, Rejection, Roots, TlsAcceptor, TlsConnector, TlsError};

async fn hello() -> &'static str {
    "hello"
}

/// HTTPS, with a certificate from a boot module.
// ANCHOR: server
pub async fn serve(stack: Stack, mut modules: Modules) -> Result {
    let identity = Identity::from_pem(modules.take("server.pem")?)?;
    let acceptor = TlsAcceptor::new(identity)?;
    serve_tls(stack.listen(443)?, acceptor, Router::new().route("/", get(hello))).await
}
// ANCHOR_END: server

/// Several names, one protocol above, and clients that must show a certificate.
// ANCHOR: builder
pub fn acceptor(first: Identity, second: Identity, ours: Roots) -> Result<TlsAcceptor> {
    let acceptor = TlsAcceptor::builder(first)
        .identity(second)
        .alpn(&["http/1.1"])
        .client_certificates(ClientCertificates::Required(ours))
        .build()?;
    Ok(acceptor)
}
// ANCHOR_END: builder

/// A new certificate for a server that runs.
// ANCHOR: reload
pub fn reload(acceptor: &TlsAcceptor, pem: &[u8]) -> Result {
    // Read first: a damaged file changes nothing.
    acceptor.replace(Identity::from_pem(pem)?);
    Ok(())
}
// ANCHOR_END: reload

/// TLS over a connection of ours.
// ANCHOR: connector
pub async fn ask(stack: &Stack, authority: &[u8]) -> Result<String> {
    let connector = TlsConnector::new(Roots::from_pem(authority)?)?;
    let stream = stack.connect_host("db.example.org", 6380).await?;
    let mut tls = connector.connect("db.example.org", stream).await?;
    tls.write_all(b"PING\r\n").await?;
    tls.flush().await?;
    let mut answer = [0; 7];
    tls.read_exact(&mut answer).await?;
    tls.close().await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
// ANCHOR_END: connector

/// An HTTP client for `https`, too.
// ANCHOR: client
pub fn client(stack: &Stack, connector: TlsConnector) -> Client {
    Client::builder(stack.clone()).tls(connector).build()
}
// ANCHOR_END: client

/// What to tell an operator.
// ANCHOR: reasons
pub fn advice(error: &TlsError) -> &'static str {
    match error {
        TlsError::Certificate(Rejection::Expired { .. }) => "renew the certificate",
        TlsError::Certificate(Rejection::WrongName { .. }) => "call the server by a name of its certificate",
        TlsError::Certificate(_) => "check the chain and the roots",
        TlsError::ClockNotSet => "give the machine a clock, or time servers",
        _ => "try again",
    }
}
// ANCHOR_END: reasons
