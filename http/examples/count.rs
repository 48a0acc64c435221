//! Answers so many requests from memory and exits, for counting instructions:
//!
//! `valgrind --tool=none` sees nothing, `perf stat -e instructions:u` and `valgrind --tool=callgrind` do. Run it
//! twice, with N and 2 N requests; the difference divided by N is the cost of one.
//!
//! `count N [hello|page|file] [fields]`

use embedded_io_async::{ErrorType, Read, Write};
use std::{convert::Infallible, future::poll_fn, task::Poll};
use unikernel_http::{Router, Server, get};

/// Brings the same request `left` times, each after a wait, and swallows the responses.
struct Source {
    request: &'static [u8],
    left: usize,
    written: usize,
    waited: bool,
}

impl ErrorType for Source {
    type Error = Infallible;
}

impl Read for Source {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        poll_fn(|cx| {
            if self.left == 0 {
                return Poll::Ready(Ok(0));
            }
            if !self.waited {
                self.waited = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.waited = false;
            self.left -= 1;
            buf[..self.request.len()].copy_from_slice(self.request);
            Poll::Ready(Ok(self.request.len()))
        })
        .await
    }
}

impl Write for Source {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        self.written += buf.len();
        Ok(buf.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

async fn hello() -> &'static str {
    "Hello, World!"
}

static PAGE: [u8; 600] = [b'x'; 600];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let count = arguments[1].parse().expect("the number of requests");
    let request: &'static [u8] = match arguments.get(2).map(String::as_str) {
        Some("page") => b"GET / HTTP/1.1\r\nHost: 10.77.0.2\r\n\r\n",
        Some("long") => b"GET /hello HTTP/1.1\r\nHost: 10.77.0.2\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0)\r\nAccept: text/html,application/xhtml+xml\r\nAccept-Encoding: gzip, deflate, br\r\n\r\n",
        _ => b"GET /hello HTTP/1.1\r\nHost: 10.77.0.2\r\n\r\n",
    };
    unikernel_rt::entry::run_test("", async move {
        let router = Router::new().route("/hello", get(hello)).route("/", get(async || &PAGE[..]));
        let source = Source { request, left: count, written: 0, waited: false };
        Server::new(router).serve_connection(source).await;
    });
}
