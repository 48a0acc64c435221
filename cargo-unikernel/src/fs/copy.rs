//! `image fs cat` and `image fs cp`: files between images and the workstation.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};
use unikernel_blockfs::{Cause, Kind, Volume};
use unikernel_rt::time::set_unix_time;

use super::{
    draft::Draft,
    folder::{self, Item, ItemKind},
    open::{Access, Image, on_volume},
    text::printable,
};

/// One read or write.
const PIECE_LEN: usize = 256 * 1024;

/// Which file is printed.
#[derive(clap::Args)]
pub struct CatArguments {
    #[command(flatten)]
    image: Image,
    /// The file in it.
    path: String,
}

impl CatArguments {
    pub(super) fn exec(self) -> Result<u8> {
        on_volume(&self.image, Access::Read, async move |volume| {
            let mut out = io::stdout().lock();
            each_piece(&volume, &self.path, &mut |bytes| out.write_all(bytes)).await?;
            out.flush()?;
            Ok(0)
        })
    }
}

async fn each_piece(volume: &Volume, path: &str, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<()> {
    let file = volume.open(path).await?;
    let mut at = 0;
    while at < file.len() {
        let bytes = file.read_at(at, PIECE_LEN).await?;
        take(&bytes)?;
        at += bytes.len() as u64;
    }
    Ok(())
}

/// What is copied where. One of the two is in an image: `IMAGE:PATH`.
#[derive(clap::Args)]
pub struct Arguments {
    /// `IMAGE:PATH` or a path of this machine; folders with all that is in them.
    from: String,
    /// The other of the two; if it is a folder, the copy is made in it.
    to: String,
    /// Takes this partition of the image, counted from 1.
    #[arg(long, value_name = "N")]
    partition: Option<u32>,
}

impl Arguments {
    pub(super) fn exec(self) -> Result<u8> {
        let image = |path| Image { path, partition: self.partition };
        match (place(&self.from), place(&self.to)) {
            (Place::Image(path, from), Place::Host(to)) => {
                on_volume(&image(path), Access::Read, async move |volume| copy_out(&volume, &from, to).await)
            }
            (Place::Host(from), Place::Image(path, to)) => {
                on_volume(&image(path), Access::Write, async move |volume| copy_in(&volume, &from, &to).await)
            }
            (Place::Image(..), Place::Image(..)) => bail!("both are in images; copy to this machine first"),
            (Place::Host(from), Place::Host(to)) => bail!(
                "neither {} nor {} is in an image; write IMAGE:PATH, where IMAGE is a file that is there, such as \
                 `state.img:/log.txt`",
                from.display(),
                to.display()
            ),
        }
    }
}

enum Place {
    Image(PathBuf, String),
    Host(PathBuf),
}

/// A path is in an image if what stands before one of its colons is a file.
fn place(text: &str) -> Place {
    let is_image = |path: &Path| path.exists() && !path.is_dir();
    let splits = text.match_indices(':').map(|(at, _)| (Path::new(&text[..at]), &text[at + 1..]));
    match splits.into_iter().find(|(image, _)| is_image(image)) {
        Some((image, path)) => Place::Image(image.into(), path.into()),
        None => Place::Host(text.into()),
    }
}

/// Copies out of an image. The exit code is 1 when links had to be left out.
async fn copy_out(volume: &Volume, from: &str, to: PathBuf) -> Result<u8> {
    let metadata = volume.metadata(from).await?;
    let name = from.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let to = if to.is_dir() && !name.is_empty() { to.join(name) } else { to };
    if metadata.kind != Kind::Folder {
        file_out(volume, from, &to, metadata.modified).await?;
        return Ok(0);
    }
    let mut left_out = false;
    let mut folders = vec![(from.to_owned(), to)];
    while let Some((folder, to)) = folders.pop() {
        if !to.is_dir() {
            fs::create_dir(&to).with_context(|| format!("cannot make the folder {}", to.display()))?;
        }
        let mut entries = volume.list(&folder).await?;
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            ensure_is_name(&entry.name)?;
            let (path, to) = (format!("{}/{}", folder.trim_end_matches('/'), entry.name), to.join(&entry.name));
            let metadata = match entry.kind {
                Kind::Other => None,
                _ => volume.metadata(&path).await.map(Some).or_else(|error| dangling(entry.kind, error))?,
            };
            match metadata.map(|metadata| (metadata.kind, metadata.modified)) {
                // A link to a folder may lead in circles.
                Some((Kind::Folder, _)) if entry.kind == Kind::Folder => folders.push((path, to)),
                Some((Kind::File, modified)) => file_out(volume, &path, &to, modified).await?,
                _ => {
                    eprintln!("unikernel: {} is no file or folder, and is left out", printable(&path));
                    left_out = true;
                }
            }
        }
    }
    Ok(left_out.into())
}

/// A link may lead to nothing; a file may not.
fn dangling<T>(kind: Kind, error: unikernel_blockfs::Error) -> Result<Option<T>> {
    match error.cause() {
        Cause::NotFound | Cause::NotAFolder | Cause::TooManyLinks | Cause::InvalidName if kind == Kind::Link => {
            Ok(None)
        }
        _ => Err(error.into()),
    }
}

/// An image from a stranger must not write elsewhere than where it was told to.
fn ensure_is_name(name: &str) -> Result<()> {
    let is_name = !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']);
    ensure!(
        is_name,
        "the image has a file named `{}`, which is no name here; copy the others one by one",
        printable(name)
    );
    Ok(())
}

async fn file_out(volume: &Volume, path: &str, to: &Path, modified: Option<u64>) -> Result<()> {
    let shown = || format!("cannot write {}", to.display());
    let draft = Draft::of(to)?;
    let mut file = File::create(draft.path()).with_context(shown)?;
    each_piece(volume, path, &mut |bytes| file.write_all(bytes)).await?;
    let time = modified.and_then(|modified| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(modified)));
    if let Some(time) = time {
        file.set_modified(time).with_context(shown)?;
    }
    draft.finish()
}

/// Copies into an image.
async fn copy_in(volume: &Volume, from: &Path, to: &str) -> Result<u8> {
    ensure!(!volume.info().is_read_only, "this image is made to be read; make it anew with `image fs create`");
    let metadata = fs::metadata(from).with_context(|| format!("cannot read {}", from.display()))?;
    let name = from.file_name().map(|name| name.to_string_lossy().into_owned());
    let to = match volume.metadata(to).await {
        Ok(there) if there.kind == Kind::Folder => {
            name.map_or_else(|| to.into(), |name| format!("{}/{name}", to.trim_end_matches('/')))
        }
        _ => to.to_owned(),
    };
    if metadata.is_dir() {
        volume.create_folders(&to).await?;
        fill(volume, from, &folder::scan(from, None)?, &to).await?;
    } else {
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        file_in(volume, from, &to, modified.unwrap_or_default()).await?;
    }
    volume.sync().await?;
    Ok(0)
}

/// Copies the items of a folder into one of the volume.
pub(super) async fn fill(volume: &Volume, root: &Path, items: &[Item], to: &str) -> Result<()> {
    for item in items {
        let path = format!("{to}/{}", item.path);
        match &item.kind {
            ItemKind::Folder => volume.create_folders(&path).await?,
            ItemKind::File { .. } => {
                file_in(volume, &root.join(&item.path), &path, Duration::from_secs(item.modified)).await?;
            }
            ItemKind::Link(_) => bail!(
                "{} is a symbolic link, which this format has not; replace it by what it leads to",
                root.join(&item.path).display()
            ),
        }
    }
    Ok(())
}

async fn file_in(volume: &Volume, from: &Path, to: &str, modified: Duration) -> Result<()> {
    let unread = || format!("cannot read {}", from.display());
    let mut source = File::open(from).with_context(unread)?;
    // Where the format has times, they are those of the clock.
    set_unix_time(modified);
    let file = volume.create(to).await?;
    let mut buffer = vec![0; PIECE_LEN];
    let mut at = 0;
    loop {
        let len = source.read(&mut buffer).with_context(unread)?;
        if len == 0 {
            return Ok(file.sync().await?);
        }
        file.write_at(at, &buffer[..len]).await?;
        at += len as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["..", ".", "", "a/b", "/etc/passwd", "a\0"] {
            assert!(ensure_is_name(name).is_err(), "{name:?}");
        }
        assert!(ensure_is_name("...").is_ok());
    }

    #[test]
    fn an_image_is_a_file_before_a_colon() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a:b.img");
        fs::write(&file, "").unwrap();
        let text = format!("{}:/x:y", file.display());
        assert!(matches!(place(&text), Place::Image(image, path) if image == file && path == "/x:y"));
        assert!(matches!(place("no/such.img:/x"), Place::Host(_)));
        assert!(matches!(place(&format!("{}:x", folder.path().display())), Place::Host(_)));
    }
}
