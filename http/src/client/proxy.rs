//! Proxies: plain requests in absolute form (RFC 9112, 3.2.2), tunnels for `https` (RFC 9110, 9.3.6).

use super::{BoxStream, Error, Limits, Target, Url, UrlError, base64, head, incoming::Raw};
use crate::Status;
use alloc::{borrow::ToOwned, format, string::String};
use core::fmt;
use embedded_io_async::{Read, Write};

/// A proxy that speaks HTTP.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::client::{Client, Proxy};
/// # use unikernel_http::{Request, Router};
///
/// # let router: Router = Router::new().fallback(async |request: Request| {
/// #     format!("{} with {:?}", request.host(), request.header("Proxy-Authorization"))
/// # });
#[doc = include_str!("../served.md")]
/// let proxy = Proxy::new("http://10.0.0.2:80")?.basic_auth("us", "secret");
/// let client = Client::builder(stack).proxy(proxy).build();
/// // The proxy looks the name up.
/// let response = client.get("http://example.org/").send().await?;
/// # assert_eq!(response.text().await?, "example.org with Some(\"Basic dXM6c2VjcmV0\")");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Proxy {
    target: Target,
    /// A whole header line, or nothing.
    field: String,
}

impl Proxy {
    /// The proxy at `http://HOST:PORT`.
    ///
    /// # Errors
    ///
    /// It is no URL, or one for `https`: the way to the proxy itself is not encrypted here.
    pub fn new(url: &str) -> Result<Proxy, UrlError> {
        let url = Url::parse(url)?;
        if url.is_https() {
            return Err(UrlError::Scheme);
        }
        Ok(Proxy { target: Target { host: url.host().to_owned(), port: url.port() }, field: String::new() })
    }

    /// Tells the proxy who asks (RFC 7617). Servers do not see it.
    pub fn basic_auth(self, user: &str, password: &str) -> Proxy {
        Proxy { field: format!("Proxy-Authorization: {}\r\n", base64::basic(user, password)), ..self }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn field(&self) -> String {
        self.field.clone()
    }

    /// Has the proxy connect to the server, so that what follows is between the two of us.
    pub(super) async fn tunnel(&self, mut stream: BoxStream, url: &Url, limits: &Limits) -> Result<BoxStream, Error> {
        let authority = url.host_and_port();
        let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{}\r\n", self.field);
        stream.write_all(request.as_bytes()).await.map_err(|_| Error::Closed)?;
        stream.flush().await.map_err(|_| Error::Closed)?;
        let mut raw = Raw::default();
        loop {
            match head::parse(raw.unused(), limits).map_err(Error::Malformed)? {
                Some(parsed) if parsed.code < 200 => raw.advance(parsed.len),
                Some(parsed) if parsed.code >= 300 => {
                    return Err(Error::Proxy(Status::new(parsed.code).unwrap_or(Status::BAD_GATEWAY)));
                }
                // Whatever lengths it names, a tunnel begins after its head; and the server waits for us to greet.
                Some(parsed) if parsed.len < raw.unused().len() => {
                    return Err(Error::Malformed("the proxy says more than that the tunnel is there"));
                }
                Some(_) => return Ok(stream),
                None => match stream.read(raw.space()).await {
                    Ok(len) if len > 0 => raw.filled(len),
                    _ => return Err(Error::Closed),
                },
            }
        }
    }
}

/// Without the password.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("host", &self.target.host).field("port", &self.target.port).finish()
    }
}
