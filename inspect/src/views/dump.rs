//! Captures: a pcap file that grows while somebody reads it.

use crate::{
    limits::{CAPTURES_MAX, PIECE_LEN, READER_CHECK, SNAP_LEN_MAX},
    pcap,
    wire::{CAPTURE_HEADER, CaptureCounts},
};
use alloc::{
    format,
    rc::{Rc, Weak},
    string::{String, ToString},
    vec::Vec,
};
use core::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};
use futures_util::Stream;
use serde::Deserialize;
use unikernel_http::{Body, IntoResponse, Json, Path, Query, Request, Response, State, Status};
use unikernel_net::{Capture, Captured, Filter, Stack};
use unikernel_rt::{
    lifecycle::{Stopping, stopping},
    time::{Instant, Sleep, sleep, unix_time},
};

/// The captures that run.
pub(super) struct Dumps {
    stack: Stack,
    port: u16,
    running: RefCell<Vec<(u64, Weak<RefCell<Capture>>)>>,
    next: Cell<u64>,
}

impl Dumps {
    /// On the frames of `stack`, for readers who come by `port`.
    pub(super) fn new(stack: &Stack, port: u16) -> Dumps {
        Dumps { stack: stack.clone(), port, running: RefCell::default(), next: Cell::new(1) }
    }

    /// Begins one and gives it a number; `None` where there are enough.
    fn begin(&self, filter: Filter, snap_len: usize) -> Option<(u64, Rc<RefCell<Capture>>)> {
        let mut running = self.running.borrow_mut();
        running.retain(|(_, capture)| capture.strong_count() > 0);
        if running.len() >= CAPTURES_MAX {
            return None;
        }
        let capture = Rc::new(RefCell::new(self.stack.capture(filter, snap_len)));
        let number = self.next.replace(self.next.get() + 1);
        running.push((number, Rc::downgrade(&capture)));
        Some((number, capture))
    }

    fn find(&self, number: u64) -> Option<Rc<RefCell<Capture>>> {
        self.running.borrow().iter().find(|(its, _)| *its == number)?.1.upgrade()
    }
}

/// What is wanted, as text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    host: Option<String>,
    port: Option<u16>,
    protocol: Option<String>,
    snap: Option<usize>,
}

impl Wanted {
    /// Readers who come by `own_port` capture neither themselves nor each other, or each frame would make another; unless
    /// they ask for that port.
    fn filter(&self, own_port: u16) -> Result<Filter, String> {
        let host = self.host.as_ref().map(|host| host.parse().map_err(|_| format!("`{host}` is no IP address")));
        let protocol = self.protocol.as_ref().map(|name| name.parse().map_err(|error: &str| error.to_string()));
        let except_port = Some(own_port).filter(|own| self.port != Some(*own));
        Ok(Filter { host: host.transpose()?, port: self.port, protocol: protocol.transpose()?, except_port })
    }
}

pub(super) async fn start(State(dumps): State<Rc<Dumps>>, Query(wanted): Query<Wanted>, request: Request) -> Response {
    let filter = match wanted.filter(dumps.port) {
        Ok(filter) => filter,
        Err(why) => return (Status::BAD_REQUEST, format!("{why}\n")).into_response(),
    };
    let snap_len = wanted.snap.unwrap_or(SNAP_LEN_MAX).min(SNAP_LEN_MAX);
    let Some((number, capture)) = dumps.begin(filter, snap_len) else {
        let text = format!("{CAPTURES_MAX} captures are running; end one of them first\n");
        return (Status::SERVICE_UNAVAILABLE, text).into_response();
    };
    let dump = Dump {
        capture,
        head: Some(pcap::head()),
        boot_micros: boot_micros(),
        stack: dumps.stack.clone(),
        port: dumps.port,
        reader: request.peer(),
        check: sleep(READER_CHECK),
        stop: stopping(),
    };
    Response::new(Status::OK, Body::from_stream(dump))
        .with_header("Content-Type", "application/vnd.tcpdump.pcap")
        .with_header(CAPTURE_HEADER, &number.to_string())
}

pub(super) async fn counts(State(dumps): State<Rc<Dumps>>, Path(number): Path<u64>) -> Option<Json<CaptureCounts>> {
    let capture = dumps.find(number)?;
    let capture = capture.borrow();
    Some(Json(CaptureCounts { seen: capture.seen(), dropped: capture.dropped() }))
}

/// When the machine's clock was zero, in microseconds since 1970.
fn boot_micros() -> u64 {
    let unix_micros = u64::try_from(unix_time().as_micros()).unwrap_or(u64::MAX);
    unix_micros.saturating_sub(Instant::now().as_micros())
}

/// The body of an answer that ends with its connection.
struct Dump {
    capture: Rc<RefCell<Capture>>,
    head: Option<Vec<u8>>,
    boot_micros: u64,
    stack: Stack,
    /// The machine's end of the connection, and the other.
    port: u16,
    reader: Option<SocketAddr>,
    check: Sleep,
    /// A capture has no end of its own that a stop of the machine could wait for.
    stop: Stopping,
}

impl Dump {
    /// What waits, up to a piece.
    fn piece(&self, first: Captured) -> Vec<u8> {
        let mut piece = Vec::new();
        let mut next = Some(first);
        while let Some(frame) = next {
            pcap::push(&mut piece, self.boot_micros + frame.at.as_micros(), frame.len, &frame.bytes);
            next = if piece.len() < PIECE_LEN { self.capture.borrow_mut().try_next() } else { None };
        }
        piece
    }

    fn has_reader(&self) -> bool {
        self.reader.is_none_or(|reader| self.stack.is_connected(self.port, reader))
    }
}

impl Stream for Dump {
    type Item = Result<Vec<u8>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(head) = self.head.take() {
            return Poll::Ready(Some(Ok(head)));
        }
        if Pin::new(&mut self.stop).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        while Pin::new(&mut self.check).poll(cx).is_ready() {
            if !self.has_reader() {
                return Poll::Ready(None);
            }
            self.check = sleep(READER_CHECK);
        }
        let next = self.capture.borrow_mut().poll_next(cx);
        next.map(|frame| Some(Ok(self.piece(frame))))
    }
}
