//! Server-sent events (HTML Standard, 9.2).

use crate::{Body, IntoResponse, Response, Status};
use alloc::{boxed::Box, string::String};
use bytes::Bytes;
use core::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};
use futures_util::Stream;
use unikernel_rt::time::{Duration, Sleep, sleep};

/// A response that sends events as they come: returned by a handler, with any stream of [`Event`]s.
///
/// While no event comes, a comment is sent every 15 seconds: so proxies do not take the connection for dead, and a
/// client that is gone is noticed.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use futures_util::{Stream, StreamExt, stream};
/// use unikernel_http::{Event, Router, Sse, get};
/// use unikernel_rt::time::{Duration, sleep};
///
/// async fn ticks() -> Sse<impl Stream<Item = Event>> {
///     Sse::new(stream::iter(0..2).then(async |tick| {
///         sleep(Duration::from_secs(1)).await;
///         Event::data(&format!("{tick}")).name("tick")
///     }))
/// }
///
/// let router: Router = Router::new().route("/ticks", get(ticks));
#[doc = include_str!("served.md")]
/// let text = client.get("http://10.0.0.2/ticks").send().await?.text().await?;
/// assert_eq!(text, "data: 0\nevent: tick\n\ndata: 1\nevent: tick\n\n");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
pub struct Sse<S> {
    events: S,
    keep_alive: Duration,
}

const EVENT_STREAM: &str = "Content-Type: text/event-stream\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\n";

impl<S: Stream<Item = Event> + 'static> Sse<S> {
    /// Sends the events of a stream, until its end.
    pub fn new(events: S) -> Sse<S> {
        Sse { events, keep_alive: Duration::from_secs(15) }
    }

    /// Sends the comments after another time without events.
    pub fn keep_alive(self, every: Duration) -> Sse<S> {
        Sse { keep_alive: every, ..self }
    }
}

impl<S: Stream<Item = Event> + 'static> IntoResponse for Sse<S> {
    fn into_response(self) -> Response {
        let body = EventBody { events: Box::pin(self.events), every: self.keep_alive, silence: sleep(self.keep_alive) };
        Response::with_lines(Status::OK, EVENT_STREAM, Body::from_stream(body))
    }
}

struct EventBody<S> {
    events: Pin<Box<S>>,
    every: Duration,
    silence: Sleep,
}

impl<S: Stream<Item = Event>> Stream for EventBody<S> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let text = match self.events.as_mut().poll_next(cx) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(event)) => Bytes::from(event.0 + "\n"),
            Poll::Pending => match Pin::new(&mut self.silence).poll(cx) {
                Poll::Ready(()) => Bytes::from_static(b":\n\n"),
                Poll::Pending => return Poll::Pending,
            },
        };
        self.silence = sleep(self.every);
        Poll::Ready(Some(Ok(text)))
    }
}

/// An event: its lines, without the empty one at the end. See [`Sse`] for an example.
#[derive(Clone, Debug, Default)]
pub struct Event(String);

impl Event {
    /// An event with that data. Every kind of line break in it is one for the reader.
    pub fn data(data: &str) -> Event {
        let mut event = Event::default();
        let mut rest = data;
        loop {
            let end = rest.find(['\r', '\n']);
            event.line("data", &rest[..end.unwrap_or(rest.len())]);
            let Some(end) = end else { return event };
            rest = rest[end..].strip_prefix("\r\n").unwrap_or(&rest[end + 1..]);
        }
    }

    /// With a name; the reader's default is `message`. What follows a line break in it is left out.
    pub fn name(mut self, name: &str) -> Event {
        self.line("event", first_line(name));
        self
    }

    /// With an id, which the client sends as `Last-Event-ID` when it comes back. One with NUL is ignored by clients.
    pub fn id(mut self, id: &str) -> Event {
        self.line("id", first_line(id));
        self
    }

    /// Tells the client how long to wait before it comes back.
    pub fn retry(mut self, after: Duration) -> Event {
        let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        self.line("retry", &alloc::format!("{millis}"));
        self
    }

    fn line(&mut self, field: &str, value: &str) {
        for part in [field, ": ", value, "\n"] {
            self.0.push_str(part);
        }
    }
}

fn first_line(text: &str) -> &str {
    text.split(['\r', '\n']).next().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_as_text() {
        for (event, expected) in [
            (Event::data("hello"), "data: hello\n"),
            (Event::data(""), "data: \n"),
            (Event::data("a\nb\r\nc\rd\n"), "data: a\ndata: b\ndata: c\ndata: d\ndata: \n"),
            (Event::data("x").name("tick").id("7"), "data: x\nevent: tick\nid: 7\n"),
            (Event::data("x").name("a\ndata: forged"), "data: x\nevent: a\n"),
            (Event::data("x").retry(Duration::from_secs(2)), "data: x\nretry: 2000\n"),
        ] {
            assert_eq!(event.0, expected);
        }
    }
}
