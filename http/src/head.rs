//! The head of a request, which the connection and the handler share, and the view of its header fields.

use crate::{
    buffer::Buffer,
    parse::{Parsed, Span},
};
use alloc::rc::Rc;
use core::{fmt, net::SocketAddr, str};

/// A head where it was read: places in the connection's buffer. A handler that keeps it past its response costs the
/// connection a new buffer, nothing else.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) buffer: Buffer,
    /// Where the head starts in the buffer.
    pub(crate) start: usize,
    pub(crate) parsed: Parsed,
    /// What the extractors hold in memory at most.
    pub(crate) buffered_body_len_max: usize,
    /// Who sent it.
    pub(crate) peer: Option<SocketAddr>,
}

impl Head {
    pub(crate) fn new(buffered_body_len_max: usize, peer: Option<SocketAddr>) -> Head {
        Head { buffer: Buffer::default(), start: 0, parsed: Parsed::default(), buffered_body_len_max, peer }
    }

    #[inline(always)]
    pub(crate) fn bytes(&self, span: Span) -> &[u8] {
        span.of(self.buffer.from(self.start))
    }

    /// The path as it was sent; `/` for a URL without one.
    #[inline(always)]
    pub(crate) fn path(&self) -> &[u8] {
        match self.bytes(self.parsed.path) {
            b"" => b"/",
            path => path,
        }
    }

    /// The values of the fields of that name, in lower case, in their order.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let all = self.buffer.from(self.start);
        self.parsed
            .fields
            .iter()
            .filter(move |field| {
                field.name.len() == name.len() && field.name.of(all).eq_ignore_ascii_case(name.as_bytes())
            })
            .map(move |field| field.value.of(all))
    }

    pub(crate) fn value<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.values(name).next()
    }
}

/// The header fields of a request (RFC 9110, 6.3). Cheap to clone: it is a reference.
///
/// Names are compared without regard to case. Values are bytes; [`get`](Headers::get) shows the ones that are UTF-8.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::{Headers, Router, get};
///
/// async fn names(headers: Headers) -> String {
///     let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
///     format!("{} for {}", names.join(" "), headers.get("host").unwrap_or("nobody"))
/// }
///
/// let router: Router = Router::new().route("/", get(names));
#[doc = include_str!("served.md")]
/// let answer = client.get("http://10.0.0.2/").raw().header("X-Trace", "7").send().await?;
/// assert_eq!(answer.text().await?, "Host X-Trace for 10.0.0.2");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Headers(pub(crate) Rc<Head>);

impl Headers {
    /// The value of the first field called `name`, if it is UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.0.buffer.from(self.0.start);
        let field =
            self.0.parsed.fields.iter().find(|field| field.name.of(all).eq_ignore_ascii_case(name.as_bytes()))?;
        str::from_utf8(field.value.of(all)).ok()
    }

    /// Every field, in the order in which they were sent: name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let all = self.0.buffer.from(self.0.start);
        // A name is a token, so it is ASCII.
        self.0.parsed.fields.iter().map(|field| (str::from_utf8(field.name.of(all)).unwrap_or(""), field.value.of(all)))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.0.parsed.fields.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, value)| (name, value.escape_ascii()))).finish()
    }
}
