//! The request as handlers and middleware see it.

use crate::{Body, Headers, Method, head::Head, parse::Span, percent};
use alloc::{borrow::Cow, boxed::Box, rc::Rc, string::String, vec::Vec};
use core::{any::Any, fmt, net::SocketAddr, str};

/// A request: its head, by reference, and its body.
///
/// It goes through many hands, so it is four words; what most requests lack is in boxes.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::{Request, Router};
///
/// async fn echo(request: Request) -> String {
///     let agent = request.header("User-Agent").unwrap_or("nobody");
///     format!("{} {} {:?} by {agent}", request.method(), request.path(), request.query())
/// }
///
/// let router: Router = Router::new().fallback(echo);
#[doc = include_str!("served.md")]
/// let answer = client.delete("http://10.0.0.2/a/b?c").header("User-Agent", "curl").send().await?;
/// assert_eq!(answer.text().await?, "DELETE /a/b Some(\"c\") by curl");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
pub struct Request {
    pub(crate) head: Rc<Head>,
    body: Option<Box<Body>>,
    extras: Option<Box<Extras>>,
    /// How many segments of the path the enclosing routers matched.
    pub(crate) mount: u8,
}

#[derive(Default)]
struct Extras {
    params: Option<Params>,
    extensions: Vec<Rc<dyn Any>>,
}

/// Values of a route's parameters, in the order of its path, as they were sent.
#[derive(Clone)]
pub(crate) struct Params {
    pub(crate) names: Rc<[Box<str>]>,
    pub(crate) values: [Span; Params::MAX],
}

impl Params {
    /// More in one route are refused when the route is added: nobody reads such paths any more.
    pub(crate) const MAX: usize = 8;
}

impl Request {
    pub(crate) fn new(head: Rc<Head>, body: Option<Box<Body>>) -> Request {
        Request { head, body, extras: None, mount: 0 }
    }

    /// The parameters of the route, if it has any.
    pub(crate) fn params(&self) -> Option<&Params> {
        self.extras.as_ref()?.params.as_ref()
    }

    /// Set by the router.
    #[cold]
    pub(crate) fn set_params(&mut self, params: Params) {
        self.extras.get_or_insert_default().params = Some(params);
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.head.parsed.method
    }

    /// Who sent it: the other end of the connection, where [that is known](crate::Accept::peer). Behind a proxy, the
    /// proxy.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.head.peer
    }

    /// The authority the request is for: that of its target, else its `Host`; empty where HTTP/1.0 names none.
    pub fn host(&self) -> &str {
        let host = match self.head.parsed.authority {
            Some(authority) => self.head.bytes(authority),
            None => self.head.value("host").unwrap_or_default(),
        };
        // The parser lets ASCII pass only.
        str::from_utf8(host).unwrap_or("")
    }

    /// The path as it was sent, percent-encoded; `*` for `OPTIONS *`.
    pub fn path(&self) -> &str {
        // The parser lets ASCII pass only.
        str::from_utf8(self.head.path()).unwrap_or("/")
    }

    /// The query as it was sent, without the `?`.
    pub fn query(&self) -> Option<&str> {
        let query = self.head.parsed.query?;
        str::from_utf8(self.head.bytes(query)).ok()
    }

    /// The header fields. Cheap: it is a reference, and may outlive the request.
    pub fn headers(&self) -> Headers {
        Headers(self.head.clone())
    }

    /// The value of the first header field of that name, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self
            .head
            .parsed
            .fields
            .iter()
            .find(|field| self.head.bytes(field.name).eq_ignore_ascii_case(name.as_bytes()))?;
        str::from_utf8(self.head.bytes(value.value)).ok()
    }

    /// The parameter of that name in the path of the route, decoded. `None` when there is none, or when its
    /// percent-encoding is no UTF-8.
    pub fn param(&self, name: &str) -> Option<Cow<'_, str>> {
        let params = self.params()?;
        let index = params.names.iter().position(|known| **known == *name)?;
        percent::decode_str(self.head.bytes(params.values[index]))
    }

    /// The body; what it was before is empty afterwards.
    pub fn take_body(&mut self) -> Body {
        self.body.take().map(|body| *body).unwrap_or_default()
    }

    /// The body, alone.
    pub fn into_body(mut self) -> Body {
        self.take_body()
    }

    /// Attaches a value for those who handle the request later; see [`Extension`](crate::extract::Extension). A value
    /// of a type that is there already replaces it.
    pub fn set_extension<T: 'static>(&mut self, value: T) {
        let extensions = &mut self.extras.get_or_insert_default().extensions;
        extensions.retain(|known| !known.is::<T>());
        extensions.push(Rc::new(value));
    }

    /// The attached value of that type.
    pub fn extension<T: 'static>(&self) -> Option<&T> {
        self.extras.as_ref()?.extensions.iter().find_map(|value| value.downcast_ref())
    }

    /// What the route's `{*rest}` matched, else the path below the enclosing routers: what a [`ServeDir`] serves.
    ///
    /// [`ServeDir`]: crate::ServeDir
    pub(crate) fn path_below(&self) -> &[u8] {
        let path_end = self.head.parsed.path.end();
        match self.params().and_then(|params| params.values[..params.names.len()].last()) {
            // Only the last parameter can reach the end of the path.
            Some(last) if last.end() == path_end => self.head.bytes(*last),
            _ => below(self.head.path(), self.mount),
        }
    }
}

/// `path` without its first `segments` segments.
fn below(path: &[u8], segments: u8) -> &[u8] {
    let mut rest = path;
    for _ in 0..segments {
        let next = rest.iter().skip(1).position(|&byte| byte == b'/');
        rest = next.map_or(b"", |position| &rest[position + 1..]);
    }
    rest
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method())
            .field("path", &self.path())
            .field("query", &self.query().map(String::from))
            .field("headers", &self.headers())
            .field("body", &self.body)
            .finish()
    }
}
