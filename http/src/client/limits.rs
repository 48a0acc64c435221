//! How much a server may send, how long it may take, and how many connections there are. Every limit has a name and a
//! reason.

use unikernel_rt::time::Duration;

/// What a client accepts. The defaults suit servers on the open internet. See [`Builder`](super::Builder) for an
/// example.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Time to get a connection: a free place in the pool, the name, TCP, the proxy and TLS together.
    pub connect_timeout: Duration,
    /// Time from the last byte of the request to the last byte of the response's head.
    pub head_timeout: Duration,
    /// Time in which not a byte of a body moves, in either direction.
    pub idle_timeout: Duration,
    /// Time from `send` to the last byte of the body, redirects included. None by default: a long download is right
    /// as long as it moves.
    pub total_timeout: Duration,
    /// How long a request with `Expect: 100-continue` waits for an answer before it sends its body anyway, as RFC
    /// 9110, 10.1.1 asks for. As curl, one second.
    pub continue_timeout: Duration,
    /// A longer head of a response is an error. At most 60 KiB, as places in a head are kept in 16 bits.
    pub head_len_max: usize,
    /// More header fields are an error.
    pub fields_max: usize,
    /// A larger body is an error in `bytes`, `text` and `json`, which hold it in memory. As for servers, 2 MiB.
    pub buffered_body_len_max: usize,
    /// A compressed body may grow to so many times its length; beyond that it is an error. Text and JSON grow 3 to 20
    /// times; deflate could grow 1032 times, and only bodies made for that do (zlib, Technical Details). The first 64
    /// KiB are not counted.
    pub expansion_max: u64,
    /// So many redirects are followed for one request; 0 returns them as they are.
    pub redirects_max: usize,
    /// Connections open to one server at once, idle ones included. More requests wait. Browsers open six.
    pub connections_per_host_max: usize,
    /// Connections open at once in all, idle ones included.
    pub connections_max: usize,
    /// How long a connection is kept without a request. Shorter than the 60 to 75 s of usual servers, so that it is
    /// mostly this side that closes and no request meets a closed connection.
    pub pool_idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            total_timeout: Duration::MAX,
            continue_timeout: Duration::from_secs(1),
            head_len_max: 16 * 1024,
            fields_max: 100,
            buffered_body_len_max: 2 * 1024 * 1024,
            expansion_max: 100,
            redirects_max: 5,
            connections_per_host_max: 16,
            connections_max: 256,
            pool_idle_timeout: Duration::from_secs(45),
        }
    }
}
