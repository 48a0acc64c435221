//! The app itself, on a simulated cable, with two clients.

use unikernel_net::{Config, Read, Stack, Write};
use unikernel_rt::sim::{Faults, cable};

fn stack(port: unikernel_rt::sim::SimPort, address: &str) -> Stack {
    Stack::new(Box::new(port), Config::fixed(address.parse().unwrap()))
}

#[unikernel_rt::test]
async fn every_byte_comes_back_to_each_client() {
    let (left, right) = cable(Faults::NONE);
    let client = stack(left, "10.0.0.1/24");
    unikernel_rt::spawn(super::main(stack(right, "10.0.0.2/24")));
    let server = "10.0.0.2:7007".parse().unwrap();
    let mut streams = [client.connect(server).await.unwrap(), client.connect(server).await.unwrap()];
    for (number, text) in [(0, b"one"), (1, b"two"), (0, b"end")] {
        let stream = &mut streams[number];
        stream.write_all(text).await.unwrap();
        let mut answer = [0; 3];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, text);
    }
}
