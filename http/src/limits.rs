//! How much one client may ask for, and how long it may take. Every limit has a name and a reason.

use unikernel_rt::time::Duration;

/// What a server accepts. The defaults suit a site on the open internet.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::{Limits, Router, Server, post};
///
/// let router = Router::new().route("/", post(async |text: String| text));
/// let limits = Limits { buffered_body_len_max: 10, ..Limits::default() };
/// let server = Server::with_limits(router, limits);
/// # let small = server;
/// # let router = Router::new();
#[doc = include_str!("served.md")]
/// # let listener = server.listen(8080)?;
/// # unikernel_rt::spawn(async move { small.serve(listener).await });
/// assert_eq!(client.post("http://10.0.0.2:8080/").body("short").send().await?.status().code(), 200);
/// assert_eq!(client.post("http://10.0.0.2:8080/").body("far too long").send().await?.status().code(), 413);
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Limits {
    /// A longer request line and header section is refused with 431: browsers send up to about 4 KiB of cookies.
    /// At most 60 KiB, as places in a head are kept in 16 bits.
    pub head_len_max: usize,
    /// A longer request target is refused with 414. RFC 9112, 3 asks for at least 8,000 bytes in the request line;
    /// no browser or proxy in use sends as much unless it is lost in a redirect loop.
    pub uri_len_max: usize,
    /// More header fields are refused with 431: browsers send about 20, chains of proxies add some.
    pub fields_max: usize,
    /// A larger body is refused with 413 by the extractors that hold it in memory (`Bytes`, `String`, `Json`,
    /// `Form`). As in axum, 2 MiB.
    pub buffered_body_len_max: usize,
    /// A larger body is refused with 413, however it is read. None by default: a streamed body takes no memory.
    pub body_len_max: u64,
    /// Time from the first byte of a head to its last; then 408. Catches clients that trickle headers.
    pub head_timeout: Duration,
    /// Time a body may bring nothing; then 408.
    pub body_timeout: Duration,
    /// Time the client may take nothing of a response; then the connection ends.
    pub write_timeout: Duration,
    /// Time a connection may wait for its next request. Browsers and proxies reuse a connection for about a minute.
    pub idle_timeout: Duration,
}

impl Limits {
    /// How long a server that stops still answers requests that come: longer than a round trip, so that one which was on
    /// its way arrives before the connection closes. A quarter of the time that the machine has, if that is less.
    pub const STOP_LINGER: Duration = Duration::from_millis(500);
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_len_max: 8 * 1024 + 1024,
            uri_len_max: 8 * 1024,
            fields_max: 100,
            buffered_body_len_max: 2 * 1024 * 1024,
            body_len_max: u64::MAX,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
        }
    }
}
