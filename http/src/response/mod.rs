//! Responses: [`Response`], and [`IntoResponse`] for what handlers return.

pub(crate) mod header;
mod into;
pub(crate) mod write;

use crate::{Body, Status};
use alloc::{rc::Rc, vec::Vec};
pub use header::InvalidHeader;
use header::Lines;
pub(crate) use into::not_found;
pub use into::{Html, IntoResponse, Redirect};

/// A response: status, header fields and body.
///
/// `Date`, `Content-Length`, `Transfer-Encoding` and `Connection` are the server's to write.
///
/// ```
/// use unikernel_http::{Response, Status};
///
/// let mut response = Response::new(Status::OK, "a,b\n1,2\n").with_header("Content-Type", "text/csv");
/// response.try_add_header("Set-Cookie", "seen=1")?;
/// response.try_add_header("Set-Cookie", "theme=dark")?;
///
/// assert_eq!(response.header("content-type"), Some(&b"text/csv"[..]));
/// assert_eq!(response.body().len(), Some(8));
/// assert!(response.try_set_header("X-Name", "two\r\nlines").is_err());
/// # Ok::<(), unikernel_http::InvalidHeader>(())
/// ```
#[derive(Debug)]
pub struct Response {
    pub(crate) status: Status,
    /// Header lines that were ready before, CR LF included.
    pub(crate) ready_lines: ReadyLines,
    /// Header lines that were added, CR LF included.
    pub(crate) lines: Vec<u8>,
    pub(crate) body: Body,
}

/// Header lines that many responses have.
#[derive(Clone, Debug)]
pub(crate) enum ReadyLines {
    /// Ready at compile time.
    Static(&'static str),
    /// Made when a file was first served.
    #[cfg_attr(not(feature = "volume"), expect(dead_code, reason = "only files of a disk have them"))]
    Shared(Rc<str>),
}

impl ReadyLines {
    #[inline(always)]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            ReadyLines::Static(lines) => lines.as_bytes(),
            ReadyLines::Shared(lines) => lines.as_bytes(),
        }
    }
}

impl From<&'static str> for ReadyLines {
    #[inline(always)]
    fn from(lines: &'static str) -> ReadyLines {
        ReadyLines::Static(lines)
    }
}

pub(crate) const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n";

impl Response {
    /// A response without header fields.
    pub fn new(status: Status, body: impl Into<Body>) -> Response {
        Response { status, ready_lines: ReadyLines::Static(""), lines: Vec::new(), body: body.into() }
    }

    pub(crate) fn with_lines(status: Status, lines: impl Into<ReadyLines>, body: impl Into<Body>) -> Response {
        Response { ready_lines: lines.into(), ..Response::new(status, body) }
    }

    /// A status with a sentence for whoever reads it.
    pub(crate) fn text(status: Status, text: &'static str) -> Response {
        Response::with_lines(status, TEXT, text)
    }

    /// The status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Replaces the status.
    pub fn set_status(&mut self, status: Status) {
        self.status = status;
    }

    /// The body.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Replaces the body by what `change` makes of it.
    pub fn map_body(mut self, change: impl FnOnce(Body) -> Body) -> Response {
        self.body = change(self.body);
        self
    }

    /// The value of the first header field of that name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let ready = Lines(self.ready_lines.as_bytes());
        ready
            .chain(Lines(&self.lines))
            .find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
            .map(|line| line.1)
    }

    /// Sets a header field, in place of those of the same name.
    ///
    /// # Panics
    ///
    /// As [`try_set_header`](Self::try_set_header) fails: with a value that is not the program's own, call that.
    pub fn set_header(&mut self, name: &str, value: &str) {
        if let Err(error) = self.try_set_header(name, value) {
            panic!("{error}: {name:?}");
        }
    }

    /// Sets a header field, in place of those of the same name.
    ///
    /// # Errors
    ///
    /// The name is no token or is one that the server writes itself; the value holds a control character or white
    /// space at an end.
    pub fn try_set_header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), InvalidHeader> {
        header::check(name, value.as_ref())?;
        self.remove_header(name);
        header::push(&mut self.lines, name.as_bytes(), value.as_ref());
        Ok(())
    }

    /// Adds a header field beside those of the same name, as `Set-Cookie` needs it.
    ///
    /// # Errors
    ///
    /// As [`try_set_header`](Self::try_set_header).
    pub fn try_add_header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), InvalidHeader> {
        header::check(name, value.as_ref())?;
        header::push(&mut self.lines, name.as_bytes(), value.as_ref());
        Ok(())
    }

    /// The response with a header field set; panics as [`set_header`](Self::set_header).
    pub fn with_header(mut self, name: &str, value: &str) -> Response {
        self.set_header(name, value);
        self
    }

    /// Removes the header fields of that name.
    pub fn remove_header(&mut self, name: &str) {
        if self.header(name).is_none() {
            return;
        }
        let mut kept = Vec::new();
        for (known, value) in Lines(self.ready_lines.as_bytes()).chain(Lines(&self.lines)) {
            if !known.eq_ignore_ascii_case(name.as_bytes()) {
                header::push(&mut kept, known, value);
            }
        }
        (self.ready_lines, self.lines) = (ReadyLines::Static(""), kept);
    }
}
