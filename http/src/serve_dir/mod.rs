//! [`ServeDir`]: files as resources.

mod conditional;
mod embedded;
mod encoding;
mod range;
#[cfg(feature = "volume")]
mod volume;

pub use embedded::{Dir, File, Variant};

use crate::{
    Handler, IntoResponse, Method, MethodRouter, Redirect, Reply, Request, Response, Status,
    head::Head,
    percent,
    response::ReadyLines,
    router::{allow, any},
};
use alloc::{borrow::Cow, string::String};
use conditional::Verdict;
use range::Ranges;

/// Serves the files of a folder: the fallback of a router, or a route of its own.
///
/// - `/` and every path that ends with `/` are the `index.html` there; a folder without the `/` redirects.
/// - Content types by extension; `.br` and `.gz` siblings by `Accept-Encoding` (RFC 9110, 12.5.3).
/// - Strong `ETag`, `Last-Modified` and all preconditions (RFC 9110, 13).
/// - Ranges, also several (RFC 9110, 14).
/// - Nothing but the names in the folder is looked up, so no path leads out of it. Names that start with a dot are not
///   served, except `.well-known`.
///
/// As the route `/files/{*path}` it serves `path`; nested, what is below the prefix.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::{Dir, Router, ServeDir, include_dir};
///
/// static SITE: Dir = include_dir!("tests/site");
/// let router: Router = Router::new().fallback(ServeDir::embedded(&SITE));
#[doc = include_str!("../served.md")]
/// let page = client.get("http://10.0.0.2/").send().await?;
/// assert_eq!(page.header("Content-Type"), Some("text/html; charset=utf-8"));
/// # let tag = page.header("ETag").unwrap().to_owned();
/// assert_eq!(page.text().await?.trim_end(), "<h1>hi</h1>");
/// # assert_eq!(client.get("http://10.0.0.2/").header("If-None-Match", tag).send().await?.status().code(), 304);
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct ServeDir(Source);

#[derive(Clone, Debug)]
enum Source {
    Embedded(&'static Dir),
    #[cfg(feature = "volume")]
    Volume(alloc::rc::Rc<volume::VolumeDir>),
}

/// Marks [`ServeDir`] among the handlers.
#[derive(Debug)]
#[doc(hidden)]
pub enum Files {}

impl<S> Handler<Files, S> for ServeDir {
    fn call(&self, request: Request, _: &S) -> Reply {
        let path = match path_of(&request) {
            Ok(path) => path,
            Err(refusal) => return Reply::Now(refusal),
        };
        match &self.0 {
            Source::Embedded(dir) => Reply::Now(dir.answer(&path, &request)),
            #[cfg(feature = "volume")]
            Source::Volume(dir) => {
                let path = path.into_owned();
                dir.answer(path, request)
            }
        }
    }
}

impl<S: 'static> From<ServeDir> for MethodRouter<S> {
    fn from(files: ServeDir) -> MethodRouter<S> {
        any(files)
    }
}

impl ServeDir {
    /// Serves a folder of the image.
    pub fn embedded(dir: &'static Dir) -> ServeDir {
        ServeDir(Source::Embedded(dir))
    }

    /// Serves the files of a volume, without holding them in memory: what is asked for is read while it is sent, from the
    /// disk's cache or the disk. Of a read-only volume the head of each response is kept.
    ///
    /// `ETag` and `Last-Modified` are there where the volume knows when its files were changed. A disk that fails or is
    /// damaged is answered with 500 and logged; in the middle of a file the connection ends.
    #[cfg(feature = "volume")]
    pub fn new(volume: unikernel_blockfs::Volume) -> ServeDir {
        ServeDir(Source::Volume(alloc::rc::Rc::new(volume::VolumeDir::new(volume))))
    }
}

/// The path that a request is about, without `%`.
fn path_of(request: &Request) -> Result<Cow<'_, [u8]>, Response> {
    let methods = || [Method::Get, Method::Head, Method::Options].into_iter();
    match request.method() {
        Method::Get | Method::Head => {}
        Method::Options => return Err(allow(Status::NO_CONTENT, methods())),
        _ => return Err(allow(Status::METHOD_NOT_ALLOWED, methods())),
    }
    let path = request.path_below();
    percent::decode(path.strip_prefix(b"/").unwrap_or(path))
        .ok_or_else(|| Response::text(Status::BAD_REQUEST, "the path has a `%` without two digits\n"))
}

fn with_index<'a>(path: &'a [u8]) -> Cow<'a, [u8]> {
    match path {
        b"" => Cow::Borrowed(b"index.html"),
        [.., b'/'] => Cow::Owned([path, b"index.html"].concat()),
        _ => Cow::Borrowed(path),
    }
}

/// `/docs` where `/docs/` is meant: relative links in the page need the slash.
fn redirect_to_folder(request: &Request) -> Response {
    let mut target = String::from(request.path());
    target.push('/');
    if let Some(query) = request.query() {
        target.push('?');
        target.push_str(query);
    }
    Redirect::permanent(target).into_response()
}

/// A form of a file: itself or compressed.
trait Form {
    /// As in Content-Encoding; empty for the file itself.
    fn coding(&self) -> &str;
    /// With its quotes; empty where it is not known.
    fn etag(&self) -> &str;
    /// Bytes in it.
    fn len(&self) -> u64;
    /// The header lines that depend on nothing else.
    fn lines(&self) -> ReadyLines;
}

/// What of a form a request asks for.
enum Asked {
    /// Nothing of it: this is the answer.
    Nothing(Response),
    All,
    Ranges(alloc::vec::Vec<core::ops::Range<u64>>),
}

/// Preconditions, then ranges (RFC 9110, 13.2.2 and 14.2).
fn asked<F: Form>(form: &F, modified: Option<u64>, head: &Head) -> Asked {
    match conditional::judge(head, form.etag(), modified) {
        Verdict::Send => {}
        Verdict::NotModified => {
            return Asked::Nothing(Response::with_lines(Status::NOT_MODIFIED, form.lines(), crate::Body::empty()));
        }
        Verdict::Failed => return Asked::Nothing(Response::new(Status::PRECONDITION_FAILED, crate::Body::empty())),
    }
    let ranges = match head.value("range") {
        Some(value) if head.parsed.method == Method::Get && conditional::allows_range(head, form.etag(), modified) => {
            range::parse(value, form.len())
        }
        _ => Ranges::All,
    };
    match ranges {
        Ranges::All => Asked::All,
        Ranges::Some(ranges) => Asked::Ranges(ranges),
        Ranges::NotSatisfiable => Asked::Nothing(
            Response::new(Status::RANGE_NOT_SATISFIABLE, crate::Body::empty())
                .with_header("Content-Range", &alloc::format!("bytes */{}", form.len())),
        ),
    }
}
