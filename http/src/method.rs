//! Request methods.

use core::fmt;

/// A request method (RFC 9110, 9; RFC 5789). Others are answered with 501.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// Reads a resource.
    Get,
    /// [`Get`](Method::Get) without the content.
    Head,
    /// Has the resource process the body.
    Post,
    /// Replaces the resource.
    Put,
    /// Removes the resource.
    Delete,
    /// Changes parts of the resource.
    Patch,
    /// Asks what the resource can do.
    Options,
    /// Loops the request back. Known, but nothing answers it unless a route does.
    Trace,
}

impl Method {
    /// How many there are.
    pub(crate) const COUNT: usize = 8;

    /// All of them.
    pub(crate) const ALL: [Method; Method::COUNT] = [
        Method::Get,
        Method::Head,
        Method::Post,
        Method::Put,
        Method::Delete,
        Method::Patch,
        Method::Options,
        Method::Trace,
    ];

    /// The method of that name; names are case-sensitive (RFC 9110, 9.1).
    pub fn from_bytes(name: &[u8]) -> Option<Method> {
        Some(match name {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"PATCH" => Method::Patch,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            _ => return None,
        })
    }

    /// The name, as it is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Patch => "PATCH",
            Method::Options => "OPTIONS",
            Method::Trace => "TRACE",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
