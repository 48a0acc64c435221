//! Open files.

use super::{System, blocks::Blocks};
use crate::{
    error::Cause,
    fs::{Node, Reply},
};
use alloc::{boxed::Box, rc::Rc, string::ToString, vec, vec::Vec};
use bytes::Bytes;
use core::cell::{Cell, RefCell};
use unikernel_littlefs::{Content, FILE_LEN_MAX, FileId, Mode};
use unikernel_rt::{log::error, spawn_named, time::unix_time};

/// One command carries so much: others get their turn between two.
const PIECE_LEN_MAX: usize = 128 * 1024;

/// A file that is read: the bytes it had when it was opened, whatever becomes of it.
pub(super) struct Reader {
    system: Rc<System>,
    file: FileId,
    blocks: Blocks,
}

/// The same of a small file, whose bytes are in its folder's block.
struct Inline(Bytes);

impl Reader {
    pub(super) async fn open(system: &Rc<System>, path: &str) -> Result<Rc<dyn Node>, Cause> {
        let (system, path) = (system.clone(), path.to_string());
        to_the_end(async move {
            Ok(match system.bridge.run(move |volume| volume.open(&path)).await? {
                Content::Inline(bytes) => Rc::new(Inline(bytes.into())) as Rc<dyn Node>,
                Content::Blocks { file, head, len } => {
                    let blocks = Blocks::new(system.disk.clone(), system.info.block_len, system.block_count, head, len);
                    Rc::new(Reader { system, file, blocks })
                }
            })
        })
        .await
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let file = self.file;
        drop(self.system.bridge.run(move |volume| {
            volume.close(file);
            Ok(())
        }));
    }
}

impl Node for Reader {
    fn len(&self) -> u64 {
        self.blocks.len().into()
    }

    fn read_at(&self, offset: u64, len: usize) -> Reply<'_, Bytes> {
        Box::pin(self.blocks.read(offset, len))
    }

    fn read_now(&self, offset: u64, len: usize) -> Option<Bytes> {
        self.blocks.read_now(offset, len)
    }

    fn prefetch(&self, offset: u64, len: usize) {
        self.blocks.prefetch(offset, len);
    }
}

impl Node for Inline {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, len: usize) -> Reply<'_, Bytes> {
        Box::pin(core::future::ready(self.read_now(offset, len).ok_or(Cause::OutOfRange)))
    }

    fn read_now(&self, offset: u64, len: usize) -> Option<Bytes> {
        let start = usize::try_from(offset).ok()?.min(self.0.len());
        Some(self.0.slice(start..start.saturating_add(len).min(self.0.len())))
    }
}

/// A file that is written.
pub(super) struct Writer {
    system: Rc<System>,
    file: FileId,
    path: Box<str>,
    len: Cell<u32>,
    /// It was written since the last sync.
    is_dirty: Cell<bool>,
    /// After an error nothing is written or synced any more, so that the file stays what it was.
    failed: RefCell<Option<Cause>>,
}

impl Writer {
    pub(super) async fn open(system: &Rc<System>, path: &str, mode: Mode) -> Result<Rc<dyn Node>, Cause> {
        let (system, path) = (system.clone(), path.to_string());
        to_the_end(async move {
            let opened = path.clone();
            let (file, len) = system.bridge.run(move |volume| volume.open_to_write(&opened, mode)).await?;
            Ok(Rc::new(Writer {
                system,
                file,
                path: path.into(),
                len: Cell::new(len),
                is_dirty: Cell::new(mode == Mode::Create),
                failed: RefCell::default(),
            }) as Rc<dyn Node>)
        })
        .await
    }

    fn check(&self) -> Result<(), Cause> {
        self.failed.borrow().clone().map_or(Ok(()), Err)
    }

    /// Runs an operation that changes the file.
    async fn change<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut super::bridge::Littlefs) -> unikernel_littlefs::Result<T> + Send + 'static,
    ) -> Result<T, Cause> {
        self.check()?;
        let result = self.system.bridge.run(operation).await;
        if let Err(cause) = &result {
            *self.failed.borrow_mut() = Some(cause.clone());
        }
        result
    }

    /// Writes a piece that begins at the end or before.
    async fn write(&self, offset: u32, bytes: Vec<u8>) -> Result<(), Cause> {
        let (file, end) = (self.file, offset + bytes.len() as u32);
        self.is_dirty.set(true);
        // The file has at least the length of its longest dropped write.
        self.len.set(self.len.get().max(end));
        self.change(move |volume| volume.write(file, offset, &bytes)).await
    }

    async fn lengthen(&self, len: u32) -> Result<(), Cause> {
        while self.len.get() < len {
            let piece = (len - self.len.get()).min(PIECE_LEN_MAX as u32);
            self.write(self.len.get(), vec![0; piece as usize]).await?;
        }
        Ok(())
    }
}

/// Opens a file also when nobody waits any more: the file that comes out is dropped, and so closed.
async fn to_the_end(open: impl Future<Output = Result<Rc<dyn Node>, Cause>> + 'static) -> Result<Rc<dyn Node>, Cause> {
    spawn_named("littlefs open", open).await.expect("nobody aborts it")
}

/// The length, where the format has it.
fn length(len: u64) -> Result<u32, Cause> {
    u32::try_from(len).ok().filter(|len| *len <= FILE_LEN_MAX).ok_or(Cause::TooLarge)
}

impl Node for Writer {
    fn len(&self) -> u64 {
        self.len.get().into()
    }

    fn read_at(&self, offset: u64, len: usize) -> Reply<'_, Bytes> {
        Box::pin(async move {
            let (file, offset, len) = (self.file, length(offset)?, len.min(PIECE_LEN_MAX) as u32);
            self.check()?;
            let bytes = self.system.bridge.run(move |volume| volume.read(file, offset, len)).await?;
            if bytes.is_empty() { Err(Cause::OutOfRange) } else { Ok(bytes.into()) }
        })
    }

    fn write_at<'a>(&'a self, offset: u64, bytes: &'a [u8]) -> Reply<'a, ()> {
        Box::pin(async move {
            length(offset.saturating_add(bytes.len() as u64))?;
            let mut offset = length(offset)?;
            if !bytes.is_empty() {
                self.lengthen(offset).await?;
            }
            for piece in bytes.chunks(PIECE_LEN_MAX) {
                self.write(offset, piece.to_vec()).await?;
                offset += piece.len() as u32;
            }
            Ok(())
        })
    }

    fn truncate(&self, len: u64) -> Reply<'_, ()> {
        Box::pin(async move {
            let (file, len) = (self.file, length(len)?);
            if len >= self.len.get() {
                return self.lengthen(len).await;
            }
            self.is_dirty.set(true);
            self.len.set(len);
            self.change(move |volume| volume.truncate(file, len)).await
        })
    }

    fn sync(&self) -> Reply<'_, ()> {
        Box::pin(async move {
            let (file, now) = (self.file, unix_time().as_secs());
            self.is_dirty.set(false);
            self.change(move |volume| volume.sync(file, now)).await
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let (file, now) = (self.file, unix_time().as_secs());
        let shall_sync = self.is_dirty.get() && self.failed.borrow().is_none();
        let closed = self.system.bridge.run(move |volume| {
            let result = if shall_sync { volume.sync(file, now) } else { Ok(()) };
            volume.close(file);
            result
        });
        let path = core::mem::take(&mut self.path);
        if shall_sync {
            spawn_named("littlefs close", async move {
                if let Err(cause) = closed.await {
                    error!("cannot close `{}`: {}", &*path, unikernel_rt::log::Display2Format(&cause));
                }
            });
        }
    }
}
