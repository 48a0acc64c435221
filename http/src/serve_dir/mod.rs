//! [`ServeDir`]: files as resources.

mod conditional;
mod encoding;
mod range;

use crate::{
    Body, Handler, IntoResponse, Method, MethodRouter, Redirect, Reply, Request, Response, Status,
    head::Head,
    percent,
    response::not_found,
    router::{allow, any},
};
use alloc::{borrow::Cow, format, string::String};
use conditional::Verdict;
use core::str;

/// A folder in the image; [`include_dir!`](crate::include_dir) makes it.
#[derive(Debug)]
pub struct Dir {
    /// Sorted by path.
    files: &'static [File],
}

/// A file in the image. Made by the macro.
#[derive(Debug)]
#[doc(hidden)]
pub struct File {
    pub path: &'static str,
    pub modified: u64,
    /// The file itself first.
    pub variants: &'static [Variant],
}

/// A form of a file: itself or compressed. Made by the macro.
#[derive(Debug)]
#[doc(hidden)]
pub struct Variant {
    /// As in Content-Encoding; empty for the file itself.
    pub coding: &'static str,
    pub etag: &'static str,
    /// The header lines that depend on nothing else.
    pub lines: &'static str,
    pub bytes: &'static [u8],
}

impl Dir {
    #[doc(hidden)]
    pub const fn new(files: &'static [File]) -> Dir {
        Dir { files }
    }

    /// The bytes of the file at `path`, which is relative to the folder.
    pub fn get(&self, path: &str) -> Option<&'static [u8]> {
        self.find(path.as_bytes()).map(|file| file.variants[0].bytes)
    }

    /// The paths of all files, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &'static str> {
        self.files.iter().map(|file| file.path)
    }

    fn find(&self, path: &[u8]) -> Option<&'static File> {
        let index = self.files.binary_search_by(|file| file.path.as_bytes().cmp(path)).ok()?;
        Some(&self.files[index])
    }
}

/// Serves the files of a folder: the fallback of a router, or a route of its own.
///
/// - `/` and every path that ends with `/` are the `index.html` there; a folder without the `/` redirects.
/// - Content types by extension; `.br` and `.gz` siblings by `Accept-Encoding` (RFC 9110, 12.5.3).
/// - Strong `ETag`, `Last-Modified` and all preconditions (RFC 9110, 13).
/// - Ranges, also several (RFC 9110, 14).
/// - Nothing but the names in the folder is looked up, so no path leads out of it.
///
/// As the route `/files/{*path}` it serves `path`; nested, what is below the prefix.
///
/// ```text
/// static SITE: Dir = include_dir!("site");
/// let router = Router::new().fallback(ServeDir::embedded(&SITE));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ServeDir {
    dir: &'static Dir,
}

/// Marks [`ServeDir`] among the handlers.
#[derive(Debug)]
#[doc(hidden)]
pub enum Files {}

impl<S> Handler<Files, S> for ServeDir {
    fn call(&self, request: Request, _: &S) -> Reply {
        Reply::Now(self.answer(&request))
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
        ServeDir { dir }
    }

    fn answer(&self, request: &Request) -> Response {
        match request.method() {
            Method::Get | Method::Head => {}
            Method::Options => {
                return allow(Status::NO_CONTENT, [Method::Get, Method::Head, Method::Options].into_iter());
            }
            _ => return allow(Status::METHOD_NOT_ALLOWED, [Method::Get, Method::Head, Method::Options].into_iter()),
        }
        let path = request.path_below();
        let Some(path) = percent::decode(path.strip_prefix(b"/").unwrap_or(path)) else {
            return Response::text(Status::BAD_REQUEST, "the path has a `%` without two digits\n");
        };
        match self.dir.find(&with_index(&path)) {
            Some(file) => serve_file(file, &request.head),
            None => self.redirect_to_folder(&path, request).unwrap_or_else(not_found),
        }
    }

    /// `/docs` where `/docs/` is meant: relative links in the page need the slash.
    fn redirect_to_folder(&self, path: &[u8], request: &Request) -> Option<Response> {
        let path = str::from_utf8(path).ok()?;
        self.dir.find(format!("{path}/index.html").as_bytes())?;
        let mut target = String::from(request.path());
        target.push('/');
        if let Some(query) = request.query() {
            target.push('?');
            target.push_str(query);
        }
        Some(Redirect::permanent(target).into_response())
    }
}

fn with_index<'a>(path: &'a [u8]) -> Cow<'a, [u8]> {
    match path {
        b"" => Cow::Borrowed(b"index.html"),
        [.., b'/'] => Cow::Owned([path, b"index.html"].concat()),
        _ => Cow::Borrowed(path),
    }
}

fn serve_file(file: &'static File, head: &Head) -> Response {
    let variant = match file.variants {
        [only] => only,
        variants => encoding::choose(variants, head),
    };
    match conditional::judge(head, variant.etag, file.modified) {
        Verdict::Send => send(file, variant, head),
        Verdict::NotModified => Response::with_lines(Status::NOT_MODIFIED, variant.lines, Body::empty()),
        Verdict::Failed => Response::new(Status::PRECONDITION_FAILED, Body::empty()),
    }
}

/// The file or the ranges that are asked for (RFC 9110, 14.2).
fn send(file: &'static File, variant: &'static Variant, head: &Head) -> Response {
    let ranges = match head.value("range") {
        Some(value)
            if head.parsed.method == Method::Get && conditional::allows_range(head, variant.etag, file.modified) =>
        {
            range::parse(value, variant.bytes.len())
        }
        _ => range::Ranges::All,
    };
    match ranges {
        range::Ranges::All => Response::with_lines(Status::OK, variant.lines, variant.bytes),
        range::Ranges::Some(ranges) => range::partial(variant, &ranges),
        range::Ranges::NotSatisfiable => Response::new(Status::RANGE_NOT_SATISFIABLE, Body::empty())
            .with_header("Content-Range", &format!("bytes */{}", variant.bytes.len())),
    }
}
