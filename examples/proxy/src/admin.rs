//! Port 9443: the certificate is replaced here, over TLS and by who knows the token only.
//!
//! `PUT /certificate` takes one PEM text with the chain and the key; `GET /status` tells how the backends are.

use crate::backends::Backends;
use alloc::{format, rc::Rc, string::String, vec::Vec};
use serde::Serialize;
use unikernel_http::{Bytes, IntoResponse, Json, Next, Request, Response, Router, State, Status, from_fn, get, put};
use unikernel_rt::log::info;
use unikernel_tls::{Identity, TlsAcceptor};

#[derive(Clone)]
struct Admin {
    acceptor: TlsAcceptor,
    backends: Rc<Backends>,
}

/// The routes, closed to whoever has no token.
pub fn router(acceptor: TlsAcceptor, backends: Rc<Backends>, token: String) -> Router {
    let expected: Rc<str> = format!("Bearer {token}").into();
    Router::new()
        .route("/certificate", put(replace))
        .route("/status", get(status))
        .with_state(Admin { acceptor, backends })
        .layer(from_fn(move |request, next| check(expected.clone(), request, next)))
}

async fn check(expected: Rc<str>, request: Request, next: Next) -> Response {
    let given = request.header("authorization").unwrap_or("");
    if !is_equal(given.as_bytes(), expected.as_bytes()) {
        let challenge = [("WWW-Authenticate", "Bearer")];
        return (Status::UNAUTHORIZED, challenge, "send `Authorization: Bearer TOKEN`\n").into_response();
    }
    next.run(request).await
}

/// In a time that tells nothing about where the two differ.
fn is_equal(given: &[u8], expected: &[u8]) -> bool {
    let difference = given.iter().zip(expected).fold(0, |difference, (a, b)| difference | (a ^ b));
    given.len() == expected.len() && core::hint::black_box(difference) == 0
}

/// New connections get the new certificate; open ones go on.
async fn replace(State(admin): State<Admin>, bundle: Bytes) -> Result<Status, (Status, String)> {
    let identity =
        Identity::from_pem(&bundle).map_err(|error| (Status::UNPROCESSABLE_CONTENT, format!("{error}\n")))?;
    admin.acceptor.replace(identity);
    info!("the certificate was replaced");
    Ok(Status::NO_CONTENT)
}

/// How a backend is.
#[derive(Serialize)]
struct BackendStatus {
    address: String,
    is_up: bool,
    requests: usize,
}

async fn status(State(admin): State<Admin>) -> Json<Vec<BackendStatus>> {
    let all = admin.backends.iter().map(|backend| BackendStatus {
        address: format!("{}", backend.address),
        is_up: backend.is_up(),
        requests: backend.in_flight(),
    });
    Json(all.collect())
}
