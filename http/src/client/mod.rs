//! An HTTP/1.1 client (RFC 9110, RFC 9112): pooled connections, streaming both ways, redirects, compressed bodies,
//! proxies, time limits.
//!
//! ```
//! # unikernel_rt::sim::run("", async {
//! use unikernel_http::client::{Client, Error};
//! use unikernel_net::Stack;
//!
//! async fn greeting(stack: &Stack) -> Result<String, Error> {
//!     let client = Client::new(stack.clone());
//!     client.get("http://10.0.0.2/greeting").send().await?.error_for_status()?.text().await
//! }
//! # let router: unikernel_http::Router = unikernel_http::Router::new();
//! # let router = router.route("/greeting", unikernel_http::get(async || "hello"));
#![doc = include_str!("../served.md")]
//! # assert_eq!(greeting(&stack).await?, "hello");
//! # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
//! ```
//!
//! Make one [`Client`] and clone it: the clones share connections. [`Limits`] has every bound with its reason,
//! [`Connect`] and [`Secure`] are how it gets to servers.
//!
//! A response is read as strictly as a server reads requests: two lengths, bad chunks, white space where none belongs
//! end the connection with an error. Bytes that a server sends beyond its response close the connection, so that they
//! are never taken for the answer to another request.
//!
//! Missing: HTTP/2, `Upgrade`, cookies, authentication beyond `Basic` and tokens, caching, `SOCKS`.

mod base64;
mod body;
mod connect;
mod decode;
mod error;
mod exchange;
mod head;
mod incoming;
mod limits;
mod outgoing;
mod pool;
mod proxy;
mod redirect;
mod request;
mod response;
mod url;

use crate::{Headers, Status, buffer::Buffer, head::Head, parse};
use alloc::{borrow::ToOwned, boxed::Box, rc::Rc, string::String, vec::Vec};
pub use body::ResponseBody;
pub use connect::{BoxStream, Connect, ConnectError, Secure, StreamError, Target};
use connect::{DynConnect, DynSecure};
pub use error::{Error, Phase};
use exchange::Exchange;
pub use limits::Limits;
use outgoing::Outgoing;
use pool::{Acquired, Key, Lease, Pool};
pub use proxy::Proxy;
use request::Parts;
pub use request::RequestBuilder;
pub use response::Response;
use unikernel_rt::time::{Instant, timeout};
pub use url::{Url, UrlError};

/// What [`decode`] understands.
const ACCEPTED_ENCODINGS: &str = "gzip, deflate";
const USER_AGENT: &str = concat!("unikernel-http/", env!("CARGO_PKG_VERSION"));
/// So much of a redirect's body is read over to keep the connection: servers send a sentence.
const REDIRECT_BODY_LEN_MAX: u64 = 16 * 1024;

/// A client with its connections. Clones are the same client; the connections close with the last of them.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::{Router, client::Client, get};
///
/// let router: Router = Router::new().route("/greeting", get(async || "hello"));
#[doc = include_str!("../served.md")]
/// let client = Client::new(stack);
/// for _ in 0..3 {
///     let response = client.get("http://10.0.0.2/greeting").send().await?.error_for_status()?;
///     assert_eq!(response.text().await?, "hello");
/// }
/// assert_eq!(client.connections(), (1, 1), "one connection served all three, and waits for the next");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Client(Rc<Shared>);

struct Shared {
    connector: Box<dyn DynConnect>,
    tls: Option<Box<dyn DynSecure>>,
    proxy: Option<Proxy>,
    limits: Rc<Limits>,
    user_agent: String,
    allows_downgrade: bool,
    pool: Rc<Pool>,
}

/// What a client is made of. Start with [`Client::builder`].
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::client::{Client, Limits};
/// # use unikernel_http::{Request, Router};
///
/// # let router: Router = Router::new().fallback(async |request: Request| request.header("User-Agent").map(String::from));
#[doc = include_str!("../served.md")]
/// let limits = Limits { buffered_body_len_max: 4, ..Limits::default() };
/// let client = Client::builder(stack.clone()).user_agent("probe/1").limits(limits).build();
///
/// let response = client.get("http://10.0.0.2/").send().await?;
/// assert!(response.text().await.is_err(), "the server says `probe/1`, which is more than 4 bytes");
/// # let client = Client::builder(stack).user_agent("probe/1").build();
/// # assert_eq!(client.get("http://10.0.0.2/").send().await?.text().await?, "probe/1");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[must_use = "`build` makes the client"]
pub struct Builder {
    connector: Box<dyn DynConnect>,
    tls: Option<Box<dyn DynSecure>>,
    proxy: Option<Proxy>,
    limits: Limits,
    user_agent: String,
    allows_downgrade: bool,
}

impl Builder {
    /// TLS for `https`; without it such URLs are an error.
    pub fn tls(self, tls: impl Secure) -> Builder {
        Builder { tls: Some(Box::new(tls)), ..self }
    }

    /// A proxy for every request.
    pub fn proxy(self, proxy: Proxy) -> Builder {
        Builder { proxy: Some(proxy), ..self }
    }

    /// Other limits.
    pub fn limits(self, limits: Limits) -> Builder {
        assert!(limits.head_len_max <= 60 * 1024, "Limits::head_len_max is more than 60 KiB");
        Builder { limits, ..self }
    }

    /// What the client calls itself.
    ///
    /// # Panics
    ///
    /// It holds a control character, or white space at an end.
    pub fn user_agent(self, name: &str) -> Builder {
        let checked = crate::response::header::check_field("User-Agent", name.as_bytes(), &[]);
        assert!(checked.is_ok(), "{name:?} is no User-Agent");
        Builder { user_agent: name.to_owned(), ..self }
    }

    /// Follows redirects from `https` to `http`, too: what follows can be read and changed by anybody on the way.
    pub fn allow_downgrade(self) -> Builder {
        Builder { allows_downgrade: true, ..self }
    }

    /// The client.
    pub fn build(self) -> Client {
        let Builder { connector, tls, proxy, limits, user_agent, allows_downgrade } = self;
        let pool = Rc::new(Pool::new(&limits));
        Client(Rc::new(Shared { connector, tls, proxy, limits: Rc::new(limits), user_agent, allows_downgrade, pool }))
    }
}

macro_rules! methods {
    ($($name:ident $method:literal)*) => {$(
        #[doc = concat!("A `", $method, "` request.")]
        pub fn $name(&self, url: &str) -> RequestBuilder {
            self.request($method, url)
        }
    )*};
}

impl Client {
    /// A client for `http`, with the default [`Limits`].
    pub fn new(connector: impl Connect) -> Client {
        Client::builder(connector).build()
    }

    /// A client with more to it.
    pub fn builder(connector: impl Connect) -> Builder {
        Builder {
            connector: Box::new(connector),
            tls: None,
            proxy: None,
            limits: Limits::default(),
            user_agent: USER_AGENT.to_owned(),
            allows_downgrade: false,
        }
    }

    methods!(get "GET" head "HEAD" post "POST" put "PUT" delete "DELETE" patch "PATCH");

    /// A request with any method but `CONNECT`; methods are case-sensitive (RFC 9110, 9.1).
    pub fn request(&self, method: &str, url: &str) -> RequestBuilder {
        RequestBuilder::new(self.clone(), method, Url::parse(url))
    }

    /// How many connections are open, and how many of them are idle.
    pub fn connections(&self) -> (usize, usize) {
        self.0.pool.count()
    }

    async fn send(&self, mut parts: Parts) -> Result<Response, Error> {
        let total = Instant::now() + parts.timeout.unwrap_or(self.0.limits.total_timeout);
        for _ in 0..self.0.limits.redirects_max {
            let kept = redirect::keep_body(&mut parts);
            let response = self.fetch(&mut parts, total).await?;
            let Some(next) = redirect::next(&response, &mut parts, kept, self.0.allows_downgrade)? else {
                return Ok(response);
            };
            response.body.discard(REDIRECT_BODY_LEN_MAX).await;
            parts.url = next;
        }
        let response = self.fetch(&mut parts, total).await?;
        let is_one_too_many = self.0.limits.redirects_max > 0 && !parts.is_raw && redirect::is_redirect(&response);
        if is_one_too_many {
            Err(Error::Redirect("there were `Limits::redirects_max` before it"))
        } else {
            Ok(response)
        }
    }

    /// One request and the head of its response, on a pooled connection if that is still good.
    async fn fetch(&self, parts: &mut Parts, total: Instant) -> Result<Response, Error> {
        let mut is_fresh = false;
        loop {
            let (lease, stream, was_used) = self.connection(&parts.url, is_fresh, total).await?;
            let head = parts.head(&self.0.user_agent, self.proxy_field(&parts.url).as_deref());
            let body = core::mem::take(&mut parts.body);
            let (again, body) = redirect::share(body);
            let outgoing = Outgoing::new(head, body, parts.expects_continue);
            let mut exchange = Box::new(Exchange::new(stream, lease, self.0.limits.clone(), outgoing, total));
            match exchange.head(parts.is_head()).await {
                Ok((parsed, bytes)) => return Ok(self.response(parts, exchange, parsed, bytes)),
                Err(failure) => {
                    let body = again.or(failure.body);
                    let may_retry = was_used && failure.is_silent && parts.is_idempotent();
                    match body.filter(|_| may_retry) {
                        Some(body) => (parts.body, is_fresh) = (body, true),
                        None => return Err(failure.error),
                    }
                }
            }
        }
    }

    fn response(&self, parts: &Parts, exchange: Box<Exchange>, parsed: head::Parsed, bytes: Vec<u8>) -> Response {
        let limits = &self.0.limits;
        let status = Status::new(parsed.code).unwrap_or(Status::INTERNAL_SERVER_ERROR);
        let headers = headers(parsed, &bytes);
        // Part of a compressed body cannot be decoded by itself (RFC 9110, 14.4).
        let decodes = !parts.is_raw && !parts.has("accept-encoding") && status != Status::PARTIAL_CONTENT;
        let encoding = headers.get("content-encoding").filter(|_| decodes);
        let decoder = encoding.and_then(|encoding| decode::Decoder::of(encoding, limits.expansion_max));
        Response {
            status,
            headers,
            url: parts.url.clone(),
            body: ResponseBody::new(exchange, decoder),
            buffered_body_len_max: limits.buffered_body_len_max,
        }
    }

    /// A connection to where the URL leads, and whether it has served a request before.
    async fn connection(&self, url: &Url, is_fresh: bool, total: Instant) -> Result<(Lease, BoxStream, bool), Error> {
        let limit = self.0.limits.connect_timeout;
        let left = total - Instant::now();
        let phase = if left < limit { Phase::Total } else { Phase::Connect };
        let connecting = async {
            match self.0.pool.acquire(&self.key(url), is_fresh).await {
                Acquired::Used(lease, stream) => Ok((lease, stream, true)),
                Acquired::Room(lease) => Ok((lease, self.connect(url).await?, false)),
            }
        };
        timeout(limit.min(left), connecting).await.unwrap_or(Err(Error::TimedOut(phase)))
    }

    async fn connect(&self, url: &Url) -> Result<BoxStream, Error> {
        if url.is_https() && self.0.tls.is_none() {
            return Err(Error::Connect(ConnectError::new("this client has no TLS; give it some with `Builder::tls`")));
        }
        let target = Target { host: url.host().to_owned(), port: url.port() };
        let stream = match &self.0.proxy {
            None => self.0.connector.connect(&target).await?,
            Some(proxy) => {
                let stream = self.0.connector.connect(proxy.target()).await?;
                if url.is_https() { proxy.tunnel(stream, url, &self.0.limits).await? } else { stream }
            }
        };
        match &self.0.tls {
            Some(tls) if url.is_https() => Ok(tls.secure(url.host(), stream).await?),
            _ => Ok(stream),
        }
    }

    /// Whose connections serve this URL: plain requests all go to the proxy, if there is one.
    fn key(&self, url: &Url) -> Key {
        let (host, port) = match &self.0.proxy {
            Some(proxy) if !url.is_https() => (&*proxy.target().host, proxy.target().port),
            _ => (url.host(), url.port()),
        };
        Key { is_https: url.is_https(), host: host.to_owned(), port }
    }

    /// The field that goes to the proxy with a plain request; empty when it needs none.
    fn proxy_field(&self, url: &Url) -> Option<String> {
        self.0.proxy.as_ref().filter(|_| !url.is_https()).map(Proxy::field)
    }
}

/// The header fields, over bytes of their own.
fn headers(parsed: head::Parsed, bytes: &[u8]) -> Headers {
    let mut buffer = Buffer::default();
    buffer.push(bytes);
    let parsed = parse::Parsed { fields: parsed.fields, len: bytes.len(), ..parse::Parsed::default() };
    Headers(Rc::new(Head { buffer, start: 0, parsed, buffered_body_len_max: 0, peer: None }))
}
