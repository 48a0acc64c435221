//! What the stack costs: `round_trips CONNECTIONS ROUNDS [open]` runs that many echo round trips of 100 bytes
//! (with `open`: connections opened, used once and closed by the server) between two stacks on a cable without
//! delay. Count instructions with `perf stat -e instructions:u` or `valgrind --tool=callgrind`; the difference
//! between two ROUNDS is the cost of a round, on both sides and with the cable.

use std::net::{Ipv4Addr, SocketAddr};
use unikernel_net::{Config, Ipv4Cidr, Listener, Read, Stack, Stream, Write};
use unikernel_rt::sim::{Faults, SimPort, cable};

const LEN: usize = 100;

fn main() {
    let mut args = std::env::args().skip(1);
    let mut number = || args.next().and_then(|text| text.parse().ok()).unwrap_or(100);
    let (connections, rounds): (usize, usize) = (number(), number());
    let open = args.next().is_some();
    unikernel_rt::sim::run("", async move {
        let (left, right) = cable(Faults { queue: 1 << 20, ..Faults::NONE });
        let (client, server) = (stack(left, 1), stack(right, 2));
        unikernel_rt::spawn(serve(server.listen(7).unwrap(), open));
        let clients: Vec<_> =
            (0..connections).map(|_| unikernel_rt::spawn(talk(client.clone(), rounds, open))).collect();
        for client in clients {
            client.await;
        }
        eprintln!("{:?}", server.stats());
    });
}

fn stack(port: SimPort, host: u8) -> Stack {
    Stack::new(Box::new(port), Config::fixed(Ipv4Cidr::new(Ipv4Addr::new(10, 0, 0, host), 24).unwrap()))
}

async fn serve(mut listener: Listener, once: bool) {
    loop {
        let stream = listener.accept().await;
        unikernel_rt::spawn(echo(stream, once));
    }
}

async fn echo(mut stream: Stream, once: bool) {
    let mut bytes = [0; LEN];
    while let Ok(LEN) = stream.read(&mut bytes).await {
        stream.write_all(&bytes).await.unwrap();
        if once {
            return;
        }
    }
}

async fn talk(stack: Stack, rounds: usize, open: bool) {
    let server = SocketAddr::new(Ipv4Addr::new(10, 0, 0, 2).into(), 7);
    let mut stream = match open {
        true => None,
        false => Some(stack.connect(server).await.unwrap()),
    };
    for _ in 0..rounds {
        match &mut stream {
            Some(stream) => round(stream).await,
            None => {
                let mut stream = stack.connect(server).await.unwrap();
                round(&mut stream).await;
                assert_eq!(stream.read(&mut [0; 1]).await, Ok(0));
            }
        }
    }
}

async fn round(stream: &mut Stream) {
    let mut bytes = [7; LEN];
    stream.write_all(&bytes).await.unwrap();
    stream.read_exact(&mut bytes).await.unwrap();
}
