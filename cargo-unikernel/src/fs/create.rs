//! `image fs create`: an image of a folder, to be read only or to be changed.

use std::{
    collections::hash_map::DefaultHasher,
    fs::{self, File, OpenOptions},
    hash::{Hash, Hasher},
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use unikernel_blockfs::{
    self as blockfs, Sealer, Volume,
    erofs::{Attributes, Builder, Content},
};

use super::{
    copy::fill,
    draft::Draft,
    folder::{self, Item, ItemKind},
    open::{Access, Image, on_disk},
    tar::Archive,
};
use crate::disk::Size;

/// What is made, and of what.
#[derive(clap::Args)]
pub struct Arguments {
    /// What goes into the image.
    folder: PathBuf,
    /// The image.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// `erofs`, `tar`: to be read, of the size of their content; `littlefs`, `fat`: to be read and written.
    #[arg(long, value_enum, default_value_t = Format::Erofs)]
    format: Format,
    /// Size of an image to be written, such as `1G`; at least 64M and twice the content, if nothing is said.
    #[arg(long, value_name = "SIZE")]
    size: Option<Size>,
    /// Gives everything this time instead of its own, in seconds since 1970.
    #[arg(long, env = "SOURCE_DATE_EPOCH", hide_env_values = true, value_name = "SECONDS")]
    mtime: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Erofs,
    Tar,
    Littlefs,
    Fat,
}

impl Format {
    /// The file system that is written; `None` for a content image.
    fn writable(self) -> Option<blockfs::Format> {
        match self {
            Format::Erofs | Format::Tar => None,
            Format::Littlefs => Some(blockfs::Format::Littlefs),
            Format::Fat => Some(blockfs::Format::Fat),
        }
    }
}

impl Arguments {
    pub(super) fn exec(self) -> Result<u8> {
        let source = Source::scan(&self.folder, self.mtime)?;
        ensure!(
            !lies_in(&self.output, &self.folder),
            "{} lies in {}, so it would hold itself; put it elsewhere",
            self.output.display(),
            self.folder.display()
        );
        match self.format.writable() {
            None => {
                ensure!(self.size.is_none(), "an image to be read has the size of its content; take `--size` away");
                write_content(&source, self.format == Format::Tar, &self.output)?;
            }
            Some(format) => write_volume(&source, format, self.size, &self.output)?,
        }
        Ok(0)
    }
}

fn lies_in(file: &Path, folder: &Path) -> bool {
    let parent = file.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    match (parent.canonicalize(), folder.canonicalize()) {
        (Ok(parent), Ok(folder)) => parent.starts_with(folder),
        _ => false,
    }
}

/// A folder with what is in it.
pub struct Source {
    root: PathBuf,
    items: Vec<Item>,
    /// Seconds since 1970.
    modified: u64,
}

impl Source {
    /// Looks at everything in the folder; `mtime` replaces its times.
    ///
    /// # Errors
    ///
    /// It cannot be read, or holds something that no image can.
    pub fn scan(root: &Path, mtime: Option<u64>) -> Result<Source> {
        ensure!(root.is_dir(), "{} is no folder; give the one whose content goes into the image", root.display());
        let modified = fs::metadata(root).with_context(|| format!("cannot look at {}", root.display()))?.mtime();
        let modified = mtime.unwrap_or(modified.max(0).cast_unsigned());
        Ok(Source { root: root.to_owned(), items: folder::scan(root, mtime)?, modified })
    }

    /// A number that is another one when something in the folder has changed, as far as names, lengths and times tell.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.items.hash(&mut hasher);
        hasher.finish()
    }

    fn content_len(&self) -> u64 {
        let len = |item: &Item| if let ItemKind::File { len, .. } = item.kind { len } else { 0 };
        self.items.iter().map(len).sum()
    }
}

/// Writes an image to be read: EROFS, or an archive.
///
/// # Errors
///
/// A file cannot be read, or the image not be written; then there is none.
pub fn write_content(source: &Source, is_archive: bool, output: &Path) -> Result<()> {
    let draft = Draft::of(output)?;
    let file = File::create(draft.path()).with_context(|| cannot_write(output))?;
    let out = BufWriter::new(file);
    let written = if is_archive { write_tar(source, out) } else { write_erofs(source, out) };
    written.with_context(|| cannot_write(output))?;
    seal(draft.path()).with_context(|| cannot_write(output))?;
    draft.finish()
}

fn cannot_write(output: &Path) -> String {
    format!("cannot write {}", output.display())
}

fn write_tar(source: &Source, out: BufWriter<File>) -> Result<()> {
    let mut archive = Archive::new(out);
    for item in &source.items {
        archive.entry(item)?;
        if let ItemKind::File { .. } = item.kind {
            let path = source.root.join(&item.path);
            read_pieces(&path, &mut |bytes| archive.content(bytes)).with_context(|| path.display().to_string())?;
        }
    }
    archive.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(())
}

/// Appends the checksums of what is there, so that damage is noticed; tools that know the format do not see them.
fn seal(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut sealer = Sealer::new();
    let mut page = [0; Sealer::PAGE_LEN];
    let len = file.metadata()?.len();
    let mut reader = BufReader::new(&mut file);
    for start in (0..len).step_by(Sealer::PAGE_LEN) {
        let part = Sealer::PAGE_LEN.min((len - start) as usize);
        page[part..].fill(0);
        reader.read_exact(&mut page[..part])?;
        sealer.add(&page);
    }
    file.set_len(len.next_multiple_of(Sealer::PAGE_LEN as u64))?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(&sealer.finish())?;
    file.sync_all()
}

fn write_erofs(source: &Source, mut out: BufWriter<File>) -> Result<()> {
    let mut builder = Builder::new();
    builder.folder("", Attributes::folder(source.modified))?;
    for Item { path, kind, mode, modified, .. } in &source.items {
        let attributes = Attributes { mode: *mode, modified: *modified };
        match kind {
            ItemKind::Folder => builder.folder(path, attributes)?,
            ItemKind::File { same_as: Some(other), .. } => builder.same(path, other)?,
            ItemKind::File { .. } => builder.file(path, Content::Path(source.root.join(path)), attributes)?,
            ItemKind::Link(target) => builder.link(path, target, attributes)?,
        }
    }
    builder.write(&mut out)?;
    Ok(out.flush()?)
}

fn read_pieces(path: &Path, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            len => take(&buffer[..len])?,
        }
    }
}

/// Makes a file system and copies the folder into it.
fn write_volume(source: &Source, format: blockfs::Format, size: Option<Size>, output: &Path) -> Result<()> {
    if output.exists() {
        let shown = output.display();
        bail!(
            "{shown} is there, maybe with what an app wrote; remove it first, or copy into it: `image fs cp FROM {shown}:/`"
        );
    }
    let size = size.map_or_else(|| default_size(source), Size::bytes);
    let draft = Draft::of(output)?;
    let file = File::create(draft.path()).and_then(|file| file.set_len(size));
    file.with_context(|| cannot_write(output))?;
    let image = Image { path: draft.path().to_owned(), partition: None };
    let (root, items) = (source.root.clone(), source.items.clone());
    on_disk(&image, Access::Write, async move |disk| {
        let volume = Volume::format(disk, format).await?;
        let filled = fill(&volume, &root, &items, "").await;
        filled.with_context(|| format!("the image has {size} bytes; `--size` gives it more"))?;
        Ok(volume.sync().await?)
    })?;
    draft.finish()
}

fn default_size(source: &Source) -> u64 {
    // Short files take a block at least, and each its entry.
    let content = source.content_len() + source.items.len() as u64 * 4096;
    (2 * content).next_multiple_of(1 << 20).max(Size::DEFAULT.bytes())
}
