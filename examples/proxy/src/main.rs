//! A reverse proxy: `https` on port 8443 and `http` on port 8080, in front of the servers in `backend=ADDR:PORT,…`.
//!
//! A request takes this way: [`forward`] (which server, what is said to it), [`headers`] (what is passed on), [`backends`]
//! (whose turn it is). [`health`] asks the servers how they are; [`admin`] changes the certificate, on port 9443.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

mod admin;
mod backends;
mod forward;
mod headers;
mod health;
mod settings;

use alloc::rc::Rc;
use backends::Backends;
use forward::App;
use settings::Settings;
use unikernel_http::{Router, client::Client, serve, serve_tls};
use unikernel_net::Stack;
use unikernel_rt::{Args, Result, log::warn, spawn};
use unikernel_tls::{Identity, TlsAcceptor};

/// What the proxy shows until it gets a certificate of its own.
static EXAMPLE: &[u8] = include_bytes!("../tls/example.pem");

#[unikernel_rt::main]
async fn main(stack: Stack, args: Args) -> Result {
    let settings = Settings::read(&args)?;
    args.finish()?;
    run(stack, settings).await
}

async fn run(stack: Stack, settings: Settings) -> Result {
    let acceptor = TlsAcceptor::builder(Identity::from_pem(EXAMPLE)?).alpn(&["http/1.1"]).build()?;
    warn!("the certificate is the example's, whose key everybody has; put your own on port 9443");
    let backends = Rc::new(Backends::new(&settings.backends, settings.balance));
    stack.configured().await;
    health::start(&stack, &backends, settings.health_path);
    let client = Client::builder(stack.clone()).limits(forward::limits()).build();
    let app = |proto| App { backends: backends.clone(), client: client.clone(), proto };
    spawn(serve_tls(stack.listen(8443)?, acceptor.clone(), router(app("https"))));
    if let Some(token) = settings.admin_token {
        let admin = admin::router(acceptor.clone(), backends.clone(), token);
        spawn(serve_tls(stack.listen(9443)?, acceptor, admin));
    }
    serve(stack.listen(8080)?, router(app("http"))).await
}

fn router(app: App) -> Router {
    Router::new().fallback(forward::forward).with_state(app)
}

#[cfg(test)]
mod tests;
