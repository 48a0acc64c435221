//! The client over TCP, on a simulated cable that loses frames, with our own server at the other end.

use futures_util::StreamExt;
use unikernel_http::{Body, Bytes, Router, client::Client, get, post, serve};
use unikernel_net::{Config, Stack};
use unikernel_rt::{
    sim::{Faults, SimPort, cable},
    spawn,
    time::Duration,
};

fn stack(port: SimPort, address: &str) -> Stack {
    Stack::new(Box::new(port), Config::fixed(address.parse().unwrap()))
}

fn router() -> Router {
    Router::new()
        .route("/hello", get(async || "hello"))
        .route("/length", post(async |body: Bytes| format!("{}", body.len())))
        .route("/echo", post(async |body: Body| body))
}

#[unikernel_rt::test]
async fn requests_over_a_cable_that_loses_frames() {
    let faults = Faults { delay: Duration::from_millis(5), loss: 20, ..Faults::NONE };
    let (left, right) = cable(faults);
    let server = stack(right, "10.0.0.2/24");
    spawn(serve(server.listen(80).unwrap(), router()));
    let client = Client::new(stack(left, "10.0.0.1/24"));
    for _ in 0..3 {
        let response = client.get("http://10.0.0.2/hello").send().await.unwrap();
        assert_eq!((response.status().code(), response.text().await.unwrap()), (200, "hello".into()));
    }
    let body = Body::from(vec![7; 300_000]);
    let response = client.post("http://10.0.0.2/length").body(body).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "300000");
    let sent =
        Body::from_sized_stream(300_000, futures_util::stream::iter((0..300).map(|_| Ok::<_, ()>(vec![7; 1000]))));
    let mut echo = client.post("http://10.0.0.2/echo").body(sent).send().await.unwrap();
    let mut len = 0;
    while let Some(piece) = echo.body_mut().next().await {
        len += piece.unwrap().len();
    }
    assert_eq!((len, client.connections()), (300_000, (1, 1)));
    let refused = client.get("http://10.0.0.2:81/").send().await.unwrap_err();
    assert_eq!(refused.to_string(), "connection refused: nobody listens on that port");
}
