//! Makes full handshakes between a server and a client in memory, to count what the server's half costs:
//!
//! ```text
//! perf stat -e instructions:u target/release/examples/handshakes 200 full
//! ```

use embedded_io_async::{ErrorType, Read, Write};
use std::{
    cell::RefCell,
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};
use unikernel_rt::{future::join, sim};
use unikernel_tls::{Identity, Roots, TlsAcceptor, TlsConnector};

#[derive(Default)]
struct Pipe(VecDeque<u8>, Option<Waker>);

struct End(Rc<RefCell<Pipe>>, Rc<RefCell<Pipe>>);

impl ErrorType for End {
    type Error = Infallible;
}

impl Read for End {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        poll_fn(|cx| {
            let mut pipe = self.0.borrow_mut();
            if pipe.0.is_empty() {
                pipe.1 = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let len = buffer.len().min(pipe.0.len());
            for byte in &mut buffer[..len] {
                *byte = pipe.0.pop_front().unwrap();
            }
            Poll::Ready(Ok(len))
        })
        .await
    }
}

impl Write for End {
    async fn write(&mut self, data: &[u8]) -> Result<usize, Infallible> {
        let mut pipe = self.1.borrow_mut();
        pipe.0.extend(data);
        pipe.1.take().inspect(|waker| waker.wake_by_ref());
        Ok(data.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let count: usize = arguments.get(1).and_then(|count| count.parse().ok()).unwrap_or(100);
    let resumes = arguments.get(2).is_some_and(|kind| kind == "resumed");
    let certificate = include_bytes!("../../benches/bench-site/tls/cert.pem");
    let key = include_bytes!("../../benches/bench-site/tls/key.pem");
    sim::run("", async move {
        let acceptor = TlsAcceptor::new(Identity::from_pem_parts(certificate, key).unwrap()).unwrap();
        let connector =
            TlsConnector::builder(Roots::from_pem(certificate).unwrap()).resumption(resumes).build().unwrap();
        for _ in 0..count {
            let (a, b) = (Rc::default(), Rc::default());
            let ends = (End(Rc::clone(&a), Rc::clone(&b)), End(b, a));
            let (server, client) = join(acceptor.accept(ends.0), connector.connect("bench-site", ends.1)).await;
            let (mut server, mut client) = match (server, client) {
                (Ok(server), Ok(client)) => (server, client),
                (server, client) => panic!("server: {:?}, client: {:?}", server.err(), client.err()),
            };
            server.write_all(b"hello").await.unwrap();
            server.flush().await.unwrap();
            client.read_exact(&mut [0; 5]).await.unwrap();
        }
    });
}
