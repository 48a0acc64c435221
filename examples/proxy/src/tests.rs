//! The proxy on a simulated cable. The machine at the other end is both the client and the backends.

mod balance;
mod certificate;
mod failures;
mod messages;

use crate::settings::{Balance, Settings};
use unikernel_http::{
    Router,
    client::{Client, Connect, ConnectError, Limits, Response, Target},
    serve,
};
use unikernel_net::{Config, Stack, Stream};
use unikernel_rt::{
    sim::{Faults, SimPort, cable},
    spawn,
    task::JoinHandle,
    time::Duration,
};

const TOKEN: &str = "0123456789abcdef";
const PROXY: &str = "http://10.0.0.2:8080";

fn stack(port: SimPort, address: &str) -> Stack {
    Stack::new(Box::new(port), Config::fixed(address.parse().unwrap()))
}

/// Starts a proxy for backends on ports 8001 and 8002 of the machine that is returned.
fn start(balance: Balance) -> Stack {
    let (left, right) = cable(Faults { delay: Duration::from_millis(1), ..Faults::NONE });
    let backends = ["10.0.0.1:8001", "10.0.0.1:8002"].map(|address| address.parse().unwrap()).to_vec();
    let settings = Settings { backends, balance, health_path: "/health".into(), admin_token: Some(TOKEN.into()) };
    let proxy = stack(right, "10.0.0.2/24");
    spawn(async move { crate::run(proxy, settings).await.unwrap() });
    stack(left, "10.0.0.1/24")
}

/// Serves a backend until the handle is used to end it.
fn backend(stack: &Stack, port: u16, router: Router) -> JoinHandle<unikernel_rt::Result> {
    let listener = stack.listen(port).unwrap();
    spawn(async move { serve(listener, router).await })
}

/// A client that has a connection for each request, and patience.
fn client(stack: &Stack) -> Client {
    let limits = Limits { head_timeout: Duration::from_secs(1000), redirects_max: 0, ..Limits::default() };
    Client::builder(ToProxy(stack.clone())).limits(limits).build()
}

/// Whatever the name: it is the proxy.
struct ToProxy(Stack);

impl Connect for ToProxy {
    type Stream = Stream;

    async fn connect(&self, target: &Target) -> Result<Stream, ConnectError> {
        let target = Target { host: "10.0.0.2".into(), port: target.port };
        Connect::connect(&self.0, &target).await
    }
}

async fn show(response: Response) -> String {
    let code = response.status().code();
    format!("{code} {}", response.text().await.unwrap())
}

async fn get(client: &Client, path: &str) -> String {
    show(client.get(&format!("{PROXY}{path}")).send().await.unwrap()).await
}
