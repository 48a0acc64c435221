//! Files that are compiled into the image.

use super::{Asked, Form, asked, encoding, range, redirect_to_folder, with_index};
use crate::{
    Body, Request, Response, Status,
    head::Head,
    response::{ReadyLines, not_found},
};
use alloc::{format, vec::Vec};
use bytes::Bytes;
use core::{convert::Infallible, str};
use futures_util::stream;
use range::Part;

/// A folder in the image; [`include_dir!`](crate::include_dir) makes it. See [`ServeDir`](super::ServeDir) for an
/// example.
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

impl Form for Variant {
    fn coding(&self) -> &str {
        self.coding
    }

    fn etag(&self) -> &str {
        self.etag
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn lines(&self) -> ReadyLines {
        ReadyLines::Static(self.lines)
    }
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

    pub(super) fn answer(&self, path: &[u8], request: &Request) -> Response {
        match self.find(&with_index(path)) {
            Some(file) => serve(file, &request.head),
            None if self.is_folder(path) => redirect_to_folder(request),
            None => not_found(),
        }
    }

    fn is_folder(&self, path: &[u8]) -> bool {
        str::from_utf8(path).is_ok_and(|path| self.find(format!("{path}/index.html").as_bytes()).is_some())
    }
}

fn serve(file: &'static File, head: &Head) -> Response {
    let variant = match file.variants {
        [only] => only,
        variants => encoding::choose(variants, head),
    };
    match asked(variant, Some(file.modified), head) {
        Asked::Nothing(response) => response,
        Asked::All => Response::with_lines(Status::OK, variant.lines, variant.bytes),
        Asked::Ranges(ranges) => range::partial(variant, ranges, |len, parts| body(variant, len, parts)),
    }
}

fn body(variant: &'static Variant, len: u64, parts: Vec<Part>) -> Body {
    let bytes = |part: Part| match part {
        Part::Text(text) => text,
        Part::Range(range) => Bytes::from_static(&variant.bytes[range.start as usize..range.end as usize]),
    };
    let mut parts: Vec<Bytes> = parts.into_iter().map(bytes).collect();
    match parts.len() {
        1 => parts.remove(0).into(),
        _ => Body::from_sized_stream(len, stream::iter(parts.into_iter().map(Ok::<_, Infallible>))),
    }
}
