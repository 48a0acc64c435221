extern crate std;

use super::*;
use alloc::{string::ToString, vec::Vec};
use unikernel_net::{Read, Write};
use unikernel_rt::{
    sim::{Faults, cable},
    spawn,
};

// ANCHOR: test
#[unikernel_rt::test]
async fn it_serves_over_any_port() {
    let (its, ours) = cable(Faults::NONE);
    let fixed = |address: &str| Config::fixed(address.parse().unwrap());
    spawn(
        async move { serve_on(Box::new(its), fixed("10.0.0.2/24")).await.map_err(|error| error.to_string()).unwrap() },
    );
    let client = Stack::new(Box::new(ours), fixed("10.0.0.1/24"));
    let mut stream = client.connect("10.0.0.2:8080".parse().unwrap()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let (mut answer, mut bytes) = (Vec::new(), [0; 512]);
    while let Ok(len @ 1..) = stream.read(&mut bytes).await {
        answer.extend_from_slice(&bytes[..len]);
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\r\n\r\nup for 0 s, "), "{answer}");
}
// ANCHOR_END: test
