//! A request, as it is put together and as it is sent.

use super::{Client, Error, Response, Url, base64, url::UrlError};
use crate::{
    Body, InvalidHeader,
    parse::class::{self, TOKEN},
    response::header::{Lines, check_field, push},
};
use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use serde::Serialize;
use unikernel_rt::time::Duration;

/// The client decides these by the body, the connection and the proxy (RFC 9112, 6; RFC 9110, 7.6.1).
const CLIENTS_OWN: [&str; 7] =
    ["connection", "content-length", "expect", "keep-alive", "proxy-authorization", "transfer-encoding", "upgrade"];

/// What is secret to one origin.
const CREDENTIALS: [&str; 4] = ["authorization", "cookie", "host", "proxy-authorization"];

/// A request that is being put together; [`send`](Self::send) sends it. What is wrong with it shows there.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::time::Duration;
/// # use unikernel_http::{Json, Request, Router, put};
///
/// # async fn check(request: Request) -> String {
/// #     let (who, trace) = (request.header("Authorization").map(String::from), request.header("X-Trace").map(String::from));
/// #     let body = request.into_body().collect(99).await.unwrap();
/// #     format!("{who:?} {trace:?} {}", std::str::from_utf8(&body).unwrap())
/// # }
/// # let router: Router = Router::new().route("/items/7", put(check));
#[doc = include_str!("../served.md")]
/// let response = client
///     .put("http://10.0.0.2/items/7")
///     .bearer_auth("open-sesame")
///     .header("X-Trace", "42")
///     .json(&["red", "round"])
///     .timeout(Duration::from_secs(5))
///     .send()
///     .await?;
/// # assert_eq!(response.text().await?, r#"Some("Bearer open-sesame") Some("42") ["red","round"]"#);
///
/// // What is wrong with a request shows when it is sent.
/// assert!(client.get("http://10.0.0.2/").header("X Y", "z").send().await.is_err());
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[must_use = "a request is sent with `send`"]
pub struct RequestBuilder {
    client: Client,
    parts: Result<Parts, Error>,
}

/// A request, as often as it has to be sent.
pub(super) struct Parts {
    pub(super) method: String,
    pub(super) url: Url,
    /// Header lines, CR LF included.
    pub(super) lines: Vec<u8>,
    pub(super) body: Body,
    pub(super) expects_continue: bool,
    pub(super) is_raw: bool,
    pub(super) timeout: Option<Duration>,
}

impl RequestBuilder {
    pub(super) fn new(client: Client, method: &str, url: Result<Url, UrlError>) -> RequestBuilder {
        let is_method = class::all(method.as_bytes(), TOKEN) && method != "CONNECT";
        let parts = url.map_err(Error::Url).and_then(|url| match is_method {
            true => Ok(Parts::new(method, url)),
            false => Err(Error::Method),
        });
        RequestBuilder { client, parts }
    }

    /// Adds a header field, beside those of the same name. `Host`, `User-Agent`, `Accept` and `Accept-Encoding` stand
    /// in for the client's; with an `Accept-Encoding` of yours the body arrives as it is sent.
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> RequestBuilder {
        self.change(|parts| parts.add_header(name, value.as_ref()))
    }

    /// `Authorization` with a name and a password (RFC 7617). A redirect to another origin does not carry it along.
    pub fn basic_auth(self, user: &str, password: &str) -> RequestBuilder {
        let value = base64::basic(user, password);
        self.change(|parts| parts.add_header("Authorization", value.as_bytes()))
    }

    /// `Authorization` with a token (RFC 6750). A redirect to another origin does not carry it along.
    pub fn bearer_auth(self, token: &str) -> RequestBuilder {
        let value = format!("Bearer {token}");
        self.change(|parts| parts.add_header("Authorization", value.as_bytes()))
    }

    /// The body. One of known length is sent with a `Content-Length`, a [stream](Body::from_stream) in chunks.
    pub fn body(self, body: impl Into<Body>) -> RequestBuilder {
        self.change(|parts| {
            parts.body = body.into();
            Ok(())
        })
    }

    /// The body as JSON, and its `Content-Type`.
    pub fn json(self, value: &impl Serialize) -> RequestBuilder {
        self.change(|parts| {
            parts.body = serde_json::to_vec(value).map_err(Error::Json)?.into();
            parts.add_header("Content-Type", b"application/json")
        })
    }

    /// Sends the body when the server asks for it, or has said nothing for
    /// [`Limits::continue_timeout`](super::Limits::continue_timeout): for large ones that may be refused.
    pub fn expect_continue(self) -> RequestBuilder {
        self.change(|parts| {
            parts.expects_continue = true;
            Ok(())
        })
    }

    /// Adds no header field but what the message needs, follows no redirect and decodes nothing: for proxies.
    pub fn raw(self) -> RequestBuilder {
        self.change(|parts| {
            parts.is_raw = true;
            Ok(())
        })
    }

    /// Time for all of it, in place of [`Limits::total_timeout`](super::Limits::total_timeout).
    pub fn timeout(self, limit: Duration) -> RequestBuilder {
        self.change(|parts| {
            parts.timeout = Some(limit);
            Ok(())
        })
    }

    /// Sends the request, follows redirects, and waits for the head of the response.
    ///
    /// A pooled connection that turns out to be closed before a byte of the response came is replaced by a new one,
    /// once, if the method is idempotent (RFC 9110, 9.2.2) and nothing of a streamed body is lost.
    ///
    /// Dropping the future closes the connection; whether the server acted on the request is not known then.
    ///
    /// # Errors
    ///
    /// See [`Error`]. A status, whichever, is no error.
    pub async fn send(self) -> Result<Response, Error> {
        self.client.send(self.parts?).await
    }

    fn change(mut self, change: impl FnOnce(&mut Parts) -> Result<(), Error>) -> RequestBuilder {
        if let Ok(parts) = &mut self.parts
            && let Err(error) = change(parts)
        {
            self.parts = Err(error);
        }
        self
    }
}

impl Parts {
    fn new(method: &str, url: Url) -> Parts {
        Parts {
            method: method.to_owned(),
            url,
            lines: Vec::new(),
            body: Body::empty(),
            expects_continue: false,
            is_raw: false,
            timeout: None,
        }
    }

    fn add_header(&mut self, name: &str, value: &[u8]) -> Result<(), Error> {
        check_field(name, value, &CLIENTS_OWN)?;
        if name.eq_ignore_ascii_case("host") && (self.has("host") || !class::all(value, class::HOST)) {
            return Err(Error::Header(InvalidHeader::Value));
        }
        push(&mut self.lines, name.as_bytes(), value);
        Ok(())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        Lines(&self.lines).any(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Whether sending it twice does what sending it once does (RFC 9110, 9.2.2).
    pub(super) fn is_idempotent(&self) -> bool {
        matches!(&*self.method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
    }

    pub(super) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// Goes on as GET, without what describes the body (RFC 9110, 15.4.2 to 15.4.4).
    pub(super) fn become_get(&mut self) {
        self.method = "GET".into();
        self.body = Body::empty();
        self.expects_continue = false;
        self.drop_fields(|name| name.len() > 8 && name[..8].eq_ignore_ascii_case(b"content-"));
    }

    /// Leaves out what another origin must not see.
    pub(super) fn drop_credentials(&mut self) {
        self.drop_fields(|name| CREDENTIALS.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(name)));
    }

    fn drop_fields(&mut self, is_dropped: impl Fn(&[u8]) -> bool) {
        let mut kept = Vec::new();
        for (name, value) in Lines(&self.lines).filter(|(name, _)| !is_dropped(name)) {
            push(&mut kept, name, value);
        }
        self.lines = kept;
    }

    /// The head as it is sent. `proxy` is the proxy's field, for requests that a proxy reads.
    pub(super) fn head(&self, user_agent: &str, proxy: Option<&str>) -> Vec<u8> {
        let mut head = Vec::with_capacity(256 + self.lines.len());
        self.push_request_line(&mut head, proxy.is_some());
        if !self.has("host") {
            push(&mut head, b"Host", self.url.authority().as_bytes());
        }
        head.extend_from_slice(proxy.unwrap_or("").as_bytes());
        if !self.is_raw {
            self.push_defaults(&mut head, user_agent);
        }
        head.extend_from_slice(&self.lines);
        self.push_framing(&mut head);
        head.extend_from_slice(b"\r\n");
        head
    }

    fn push_request_line(&self, head: &mut Vec<u8>, is_absolute: bool) {
        head.extend_from_slice(self.method.as_bytes());
        head.push(b' ');
        if is_absolute {
            head.extend_from_slice(format!("{}", self.url).as_bytes());
        } else {
            head.extend_from_slice(self.url.path_and_query().as_bytes());
        }
        head.extend_from_slice(b" HTTP/1.1\r\n");
    }

    fn push_defaults(&self, head: &mut Vec<u8>, user_agent: &str) {
        for (name, value) in
            [("User-Agent", user_agent), ("Accept", "*/*"), ("Accept-Encoding", super::ACCEPTED_ENCODINGS)]
        {
            if !self.has(name) {
                push(head, name.as_bytes(), value.as_bytes());
            }
        }
    }

    /// RFC 9110, 8.6: a method that is about its body says so when that is empty.
    fn push_framing(&self, head: &mut Vec<u8>) {
        match self.body.len() {
            Some(0) if !matches!(&*self.method, "POST" | "PUT" | "PATCH") => {}
            Some(len) => push(head, b"Content-Length", format!("{len}").as_bytes()),
            None => push(head, b"Transfer-Encoding", b"chunked"),
        }
        if self.expects_continue && !self.body.is_empty() {
            push(head, b"Expect", b"100-continue");
        }
    }
}
