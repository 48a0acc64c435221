//! Files on a disk.

use super::{Asked, Form, asked, encoding, range, redirect_to_folder, with_index};
use crate::{
    Body, Reply, Request, Response, Status, date,
    response::{ReadyLines, not_found},
};
use alloc::{boxed::Box, format, rc::Rc, string::String, vec, vec::Vec};
use bytes::Bytes;
use core::{
    cell::RefCell,
    hash::{BuildHasherDefault, Hasher},
    ops::Range,
    str,
};
use futures_util::stream;
use hashbrown::HashMap;
use range::Part;
use unikernel_blockfs::{Cause, Error, File, Kind, Volume};
use unikernel_rt::log::{Display2Format, error};

/// Heads of so many files are kept: about 300 bytes each, and more than most sites have pages that are asked for often.
const KNOWN_MAX: usize = 1024;

/// So much of a file is read at once while it is sent.
const PIECE_LEN: usize = 128 * 1024;

/// `NAME.br` beside `NAME`, and what it is called in Content-Encoding.
const CODINGS: [(&str, &str); 2] = [(".br", "br"), (".gz", "gzip")];

pub(super) struct VolumeDir {
    volume: Volume,
    /// Files that were served, by path. Only of volumes that do not change.
    known: RefCell<Known>,
}

type Known = HashMap<Box<[u8]>, Rc<Served>, BuildHasherDefault<PathHasher>>;

/// A file that can be served.
struct Served {
    modified: Option<u64>,
    /// The file itself first.
    forms: Vec<DiskForm>,
}

struct DiskForm {
    coding: &'static str,
    etag: String,
    lines: Rc<str>,
    file: File,
}

impl Form for DiskForm {
    fn coding(&self) -> &str {
        self.coding
    }

    fn etag(&self) -> &str {
        &self.etag
    }

    fn len(&self) -> u64 {
        self.file.len()
    }

    fn lines(&self) -> ReadyLines {
        ReadyLines::Shared(self.lines.clone())
    }
}

impl core::fmt::Debug for VolumeDir {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "VolumeDir({:?})", self.volume)
    }
}

impl VolumeDir {
    pub(super) fn new(volume: Volume) -> VolumeDir {
        VolumeDir { volume, known: RefCell::default() }
    }

    pub(super) fn answer(self: &Rc<Self>, path: Vec<u8>, request: Request) -> Reply {
        let known = self.known.borrow().get(&*with_index(&path)).cloned();
        if let Some(served) = known {
            return served.reply(&request);
        }
        let dir = self.clone();
        Reply::Later(Box::pin(async move {
            match dir.look_up(&path).await {
                Ok(Some(served)) => served.reply(&request).response().await,
                Ok(None) if dir.is_folder(&path).await => redirect_to_folder(&request),
                Ok(None) => not_found(),
                Err(problem) => failed(&problem),
            }
        }))
    }

    /// The file at `path`; `None` if there is none that may be served.
    async fn look_up(&self, path: &[u8]) -> Result<Option<Rc<Served>>, Error> {
        let whole = with_index(path);
        let Some(name) = str::from_utf8(&whole).ok().filter(|path| may_be_served(path)) else { return Ok(None) };
        let Some((first, modified)) = self.form(name, "", "").await? else { return Ok(None) };
        // What is sent in another's place has no address of its own.
        for (extension, _) in CODINGS {
            if let Some(of) = name.strip_suffix(extension)
                && is_there(self.volume.metadata(of).await)?
            {
                return Ok(None);
            }
        }
        let mut forms = vec![first];
        for (extension, coding) in CODINGS {
            forms.extend(self.form(name, extension, coding).await?.map(|(form, _)| form));
        }
        if forms.len() > 1 {
            forms.iter_mut().for_each(|form| form.lines = format!("Vary: Accept-Encoding\r\n{}", form.lines).into());
        }
        let served = Rc::new(Served { modified, forms });
        if self.volume.info().is_read_only {
            let mut known = self.known.borrow_mut();
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
            known.insert(whole.into(), served.clone());
        }
        Ok(Some(served))
    }

    async fn form(
        &self,
        name: &str,
        extension: &str,
        coding: &'static str,
    ) -> Result<Option<(DiskForm, Option<u64>)>, Error> {
        let path = format!("{name}{extension}");
        let metadata = match self.volume.metadata(&path).await {
            Ok(metadata) if metadata.kind == Kind::File => metadata,
            answer => return is_there(answer).map(|_| None),
        };
        let file = self.volume.open(&path).await?;
        let content_type = unikernel_http_content_type::of(name);
        let mut lines = format!("Content-Type: {content_type}\r\nAccept-Ranges: bytes\r\n");
        let mut etag = String::new();
        if let Some(modified) = metadata.modified {
            let content = self.volume.info().content.unwrap_or_default();
            etag = format!("\"{content:x}-{modified:x}-{:x}\"", metadata.len);
            let date = date::format(modified);
            let date = str::from_utf8(&date).unwrap_or_default();
            lines.push_str(&format!("ETag: {etag}\r\nLast-Modified: {date}\r\n"));
        }
        if !coding.is_empty() {
            lines.push_str(&format!("Content-Encoding: {coding}\r\n"));
        }
        Ok(Some((DiskForm { coding, etag, lines: lines.into(), file }, metadata.modified)))
    }

    async fn is_folder(&self, path: &[u8]) -> bool {
        let Some(path) = str::from_utf8(path).ok().filter(|path| may_be_served(path)) else { return false };
        matches!(self.look_up(format!("{path}/").as_bytes()).await, Ok(Some(_)))
    }
}

/// Names that the embedded folder would not have either.
fn may_be_served(path: &str) -> bool {
    path.split('/').all(|name| !name.is_empty() && (!name.starts_with('.') || name == ".well-known"))
}

/// Whether something is there; an error is only one that is not about the path.
fn is_there<T>(answer: Result<T, Error>) -> Result<bool, Error> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) => match error.cause() {
            Cause::NotFound | Cause::NotAFolder | Cause::IsAFolder | Cause::InvalidName | Cause::TooManyLinks => {
                Ok(false)
            }
            _ => Err(error),
        },
    }
}

fn failed(problem: &Error) -> Response {
    error!("a file could not be served: {}", Display2Format(problem));
    Response::text(Status::INTERNAL_SERVER_ERROR, "the disk failed\n")
}

impl Served {
    fn reply(self: &Rc<Self>, request: &Request) -> Reply {
        let index = match &self.forms[..] {
            [_] => 0,
            forms => {
                let form = encoding::choose(forms, &request.head);
                forms.iter().position(|known| core::ptr::eq(known, form)).unwrap_or(0)
            }
        };
        let form = &self.forms[index];
        match asked(form, self.modified, &request.head) {
            Asked::Nothing(response) => Reply::Now(response),
            Asked::All => match form.file.read_now(0, form.len() as usize) {
                Some(bytes) if bytes.len() as u64 == form.len() => {
                    Reply::Now(Response::with_lines(Status::OK, form.lines(), bytes))
                }
                _ => self.clone().send(index, None),
            },
            Asked::Ranges(ranges) => self.clone().send(index, Some(ranges)),
        }
    }

    /// Reads the first bytes before the answer begins, so that a disk that fails is a clear answer.
    fn send(self: Rc<Self>, index: usize, ranges: Option<Vec<Range<u64>>>) -> Reply {
        Reply::Later(Box::pin(async move {
            let form = &self.forms[index];
            let start = ranges.as_ref().map_or(0, |ranges| ranges[0].start);
            let end = ranges.as_ref().map_or(form.len(), |ranges| ranges[0].end);
            let len = usize::try_from(end - start).unwrap_or(usize::MAX).min(PIECE_LEN);
            let file = form.file.clone();
            let first = match file.read_at(start, len).await {
                Ok(first) => first,
                Err(problem) => return failed(&problem),
            };
            let body = |len, parts| body(file, len, parts, first);
            match ranges {
                None => {
                    let body = body(form.len(), vec![Part::Range(0..form.len())]);
                    Response::with_lines(Status::OK, form.lines(), body)
                }
                Some(ranges) => range::partial(form, ranges, body),
            }
        }))
    }
}

/// What is left to send.
struct Sending {
    file: File,
    /// The last one first.
    parts: Vec<Part>,
    /// The start of the first range, which is there already.
    first: Option<Bytes>,
}

fn body(file: File, len: u64, mut parts: Vec<Part>, first: Bytes) -> Body {
    if parts.len() == 1 && first.len() as u64 == len {
        return first.into();
    }
    parts.reverse();
    let sending = Sending { file, parts, first: Some(first) };
    Body::from_sized_stream(len, stream::try_unfold(sending, next_piece))
}

async fn next_piece(mut sending: Sending) -> Result<Option<(Bytes, Sending)>, ()> {
    let Some(part) = sending.parts.pop() else { return Ok(None) };
    let range = match part {
        Part::Text(text) => return Ok(Some((text, sending))),
        Part::Range(range) => range,
    };
    let piece = match sending.first.take() {
        Some(first) => first,
        None => {
            let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(PIECE_LEN);
            let piece = sending.file.read_at(range.start, len).await;
            piece.map_err(|problem| error!("a file could not be sent to its end: {}", Display2Format(&problem)))?
        }
    };
    if piece.is_empty() {
        // It has become shorter; the connection ends, so that the client notices.
        return Err(());
    }
    let rest = range.start + piece.len() as u64..range.end;
    if !rest.is_empty() {
        sending.parts.push(Part::Range(rest));
    }
    Ok(Some((piece, sending)))
}

/// FNV-1a over eight bytes at a time: paths that are known are those of files that exist, so nobody floods the table.
struct PathHasher(u64);

impl Default for PathHasher {
    fn default() -> PathHasher {
        PathHasher(0xcbf2_9ce4_8422_2325)
    }
}

impl PathHasher {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}

impl Hasher for PathHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        self.mix(rest.iter().fold(rest.len() as u64, |word, byte| word << 8 | u64::from(*byte)));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
