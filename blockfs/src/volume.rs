//! [`Volume`]: the files of a disk.

use crate::{
    Disk, Report, check,
    disk::refused,
    draft,
    error::{Cause, Error, Result},
    file::File,
    fs::{FileSystem, Mode, Node},
    metadata::{Entry, Format, Kind, Metadata, Space, VolumeInfo},
    mount, path,
};
use alloc::{rc::Rc, string::String, vec::Vec};
use bytes::Bytes;
use unikernel_rt::{
    Acquire, Machine, lifecycle,
    log::{Display2Format as Text, warn},
};

/// The files of a disk. Clones are handles to the same volume.
///
/// When the machine stops in good order, it waits until what was written is safe; files that are still open for writing
/// must have been [synced](File::sync) by whoever has them.
///
/// Paths are names between slashes, `folder/file`; a slash at the start changes nothing. `.` and `..` are refused.
///
/// As an argument of `main` it takes the machine's next disk and mounts whatever format is on it.
///
/// ```
/// # use unikernel_rt::sim::SimDisk;
/// # unikernel_rt::sim::run("", async {
/// use unikernel_blockfs::{Disk, Format, Volume};
///
/// # let device = SimDisk::new(4 << 20).device();
/// let volume = Volume::mount_or_format(Disk::new(device), Format::Littlefs).await?;
/// volume.create_folders("notes/2026").await?;
/// // All of it, durably, or what was there before.
/// volume.write("notes/2026/milk.txt", b"two litres").await?;
/// assert_eq!(&volume.read("notes/2026/milk.txt", 4096).await?[..], b"two litres");
///
/// let names: Vec<String> = volume.list("notes/2026").await?.into_iter().map(|entry| entry.name).collect();
/// assert_eq!(names, ["milk.txt"]);
/// # Ok::<_, unikernel_blockfs::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Volume(Rc<dyn FileSystem>);

impl Acquire for Volume {
    async fn acquire(machine: &mut Machine) -> unikernel_rt::Result<Volume> {
        let disk = Disk::new(machine.take_disk()?);
        let info = disk.info().clone();
        Volume::mount(disk).await.map_err(|error| refused(&info, &error))
    }
}

impl Volume {
    pub(crate) fn new(system: Rc<dyn FileSystem>) -> Volume {
        Volume(system)
    }

    /// Mounts what is on the disk; the format is recognised. What an interrupted [`write`](Self::write) left in the root
    /// folder of a volume to be written, `.new-` and sixteen digits, is removed.
    ///
    /// # Errors
    ///
    /// The disk is blank, holds no known format, or is damaged; the device failed.
    pub async fn mount(disk: Disk) -> Result<Volume> {
        let mounted = mount::mount(disk).await;
        mounted.map(Volume::synced_at_stop).map_err(|cause| Error::new("mount the disk", "", cause))
    }

    /// The same; a blank disk, which has nothing but zeros at its start, is formatted first. A loss of power while
    /// formatting leaves a disk that counts as blank.
    ///
    /// # Errors
    ///
    /// The disk holds something else; the device failed; it is read-only.
    pub async fn mount_or_format(disk: Disk, format: Format) -> Result<Volume> {
        let mounted = mount::mount_or_format(disk, format).await;
        mounted.map(Volume::synced_at_stop).map_err(|cause| Error::new("mount the disk", "", cause))
    }

    /// Makes an empty volume; what was on the disk is lost.
    ///
    /// # Errors
    ///
    /// The format is read-only; the disk is read-only or too small; the device failed.
    pub async fn format(disk: Disk, format: Format) -> Result<Volume> {
        let formatted = mount::format(disk, format).await;
        formatted.map(Volume::synced_at_stop).map_err(|cause| Error::new("format the disk", "", cause))
    }

    /// Has the machine wait at its stop until what was done, the work of dropped files too, is safe.
    fn synced_at_stop(self) -> Volume {
        lifecycle::on_stop_of(&self.0, |system| async move {
            if let Err(error) = Volume(system).sync().await {
                warn!("at the stop of the machine: {}", Text(&error));
            }
        });
        self
    }

    /// What it is.
    pub fn info(&self) -> &VolumeInfo {
        self.0.info()
    }

    /// What is free.
    ///
    /// # Errors
    ///
    /// The disk failed or is damaged.
    pub async fn space(&self) -> Result<Space> {
        self.0.space().await.map_err(|cause| Error::new("look for free space", "", cause))
    }

    /// About a file or folder.
    ///
    /// # Errors
    ///
    /// There is none; the disk failed or is damaged.
    pub async fn metadata(&self, path: &str) -> Result<Metadata> {
        let answer = async { self.0.metadata(&path::normalize(path)?).await };
        answer.await.map_err(|cause| Error::new("look at", path, cause))
    }

    /// The entries of a folder, in no particular order.
    ///
    /// # Errors
    ///
    /// There is none, or it is a file; the disk failed or is damaged.
    pub async fn list(&self, path: &str) -> Result<Vec<Entry>> {
        let answer = async { self.0.list(&path::normalize(path)?).await };
        answer.await.map_err(|cause| Error::new("list", path, cause))
    }

    /// Opens a file to read it.
    ///
    /// # Errors
    ///
    /// There is none; it is a folder; the disk failed or is damaged.
    pub async fn open(&self, path: &str) -> Result<File> {
        self.open_as("open", path, Mode::Read).await
    }

    /// Opens a file to read and change it.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open), and: the volume is read-only; another task writes the file.
    pub async fn edit(&self, path: &str) -> Result<File> {
        self.open_as("open to change", path, Mode::Edit).await
    }

    /// Opens a file to write it from its start; one that is there becomes empty, with the first
    /// [`sync`](File::sync). One that is new may be there, and empty, before that; [`write`](Self::write) has no such moment.
    ///
    /// # Errors
    ///
    /// As for [`edit`](Self::edit); the folder is not there; no space is left.
    pub async fn create(&self, path: &str) -> Result<File> {
        self.open_as("create", path, Mode::Create).await
    }

    /// Opens a file to write after its end, and makes it if it is not there.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create).
    pub async fn append(&self, path: &str) -> Result<File> {
        let mut file = self.open_as("open to append", path, Mode::Append).await?;
        file.set_position(file.len());
        Ok(file)
    }

    async fn open_as(&self, operation: &'static str, path: &str, mode: Mode) -> Result<File> {
        let node = async { self.node(&path::normalize(path)?, mode).await };
        let node = node.await.map_err(|cause| Error::new(operation, path, cause))?;
        Ok(File::new(node, path))
    }

    async fn node(&self, path: &str, mode: Mode) -> Result<Rc<dyn Node>, Cause> {
        if path.is_empty() {
            return Err(Cause::IsAFolder);
        }
        self.0.open(path, mode).await
    }

    /// The whole content of a file.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open); it is longer than `len_max`.
    pub async fn read(&self, path: &str, len_max: usize) -> Result<Bytes> {
        self.open(path).await?.read_all(len_max).await
    }

    /// Replaces the content of a file, or makes it, and makes that safe. On a format that survives a loss of power the
    /// file has the old content or the new one at any time; where it fails, the old one. One that was not there may be left
    /// empty.
    ///
    /// # Errors
    ///
    /// As for [`create`](Self::create).
    pub async fn write(&self, path: &str, bytes: &[u8]) -> Result {
        let is_new = self.metadata(path).await.is_err_and(|error| *error.cause() == Cause::NotFound);
        if !is_new {
            return self.fill(path, bytes).await;
        }
        // A file is there, and empty, from the moment it is made; so it is made where nobody looks.
        let draft = draft::name();
        let written = match self.fill(&draft, bytes).await {
            Ok(()) => self.rename(&draft, path).await,
            error => error,
        };
        match written {
            Ok(()) => self.sync().await,
            Err(error) => {
                // What is left of it goes when the volume is mounted again.
                drop(self.remove(&draft).await);
                Err(Error::new("create", path, error.cause().clone()))
            }
        }
    }

    async fn fill(&self, path: &str, bytes: &[u8]) -> Result {
        let file = self.create(path).await?;
        file.write_at(0, bytes).await?;
        file.sync().await
    }

    /// Makes a folder, in one that is there.
    ///
    /// # Errors
    ///
    /// There is something of this name; the folder around it is not there; no space is left; the volume is read-only.
    pub async fn create_folder(&self, path: &str) -> Result {
        let answer = async {
            let path = path::normalize(path)?;
            if path.is_empty() { Err(Cause::Exists) } else { self.0.create_folder(&path).await }
        };
        answer.await.map_err(|cause| Error::new("create the folder", path, cause))
    }

    /// Makes a folder and those around it, as far as they are not there.
    ///
    /// # Errors
    ///
    /// One of the names is a file; no space is left; the volume is read-only.
    pub async fn create_folders(&self, path: &str) -> Result {
        let answer = async {
            let path = path::normalize(path)?;
            let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
            for end in ends.filter(|end| *end > 0) {
                match self.0.metadata(&path[..end]).await {
                    Ok(metadata) if metadata.kind == Kind::Folder => {}
                    Ok(_) => return Err(Cause::NotAFolder),
                    Err(Cause::NotFound) => self.0.create_folder(&path[..end]).await?,
                    Err(cause) => return Err(cause),
                }
            }
            Ok(())
        };
        answer.await.map_err(|cause| Error::new("create the folder", path, cause))
    }

    /// Removes a file or an empty folder. Who has the file open may get an error from then on.
    ///
    /// # Errors
    ///
    /// There is none; the folder has entries; the volume is read-only.
    pub async fn remove(&self, path: &str) -> Result {
        let answer = async {
            let path = path::normalize(path)?;
            if path.is_empty() { Err(Cause::InvalidName) } else { self.0.remove(&path).await }
        };
        answer.await.map_err(|cause| Error::new("remove", path, cause))
    }

    /// Gives a file or folder another name or place. A file of that name is replaced: on a format that survives a loss of
    /// power there is the old one or the new one under it at any time.
    ///
    /// # Errors
    ///
    /// There is none; a folder would be replaced, or moved into itself; the volume is read-only.
    pub async fn rename(&self, from: &str, to: &str) -> Result {
        let answer = async {
            let (from, to) = (path::normalize(from)?, path::normalize(to)?);
            let is_inside = to.strip_prefix(&*from).is_some_and(|rest| rest.starts_with('/'));
            if from.is_empty() || to.is_empty() || is_inside {
                return Err(Cause::InvalidName);
            }
            self.0.rename(&from, &to).await
        };
        answer.await.map_err(|cause| Error::new("rename", from, cause))
    }

    /// Makes everything that was done survive a loss of power; files that are open for writing have a
    /// [`sync`](File::sync) of their own.
    ///
    /// # Errors
    ///
    /// The disk failed.
    pub async fn sync(&self) -> Result {
        self.0.sync().await.map_err(|cause| Error::new("sync the volume", "", cause))
    }

    /// Lists every folder and reads every file, for tools and tests. What cannot be read is in the report; formats that have
    /// checksums compare them.
    pub async fn check(&self) -> Report {
        check::check(self).await
    }

    pub(crate) fn folder_count_max(&self) -> u64 {
        self.0.folder_count_max()
    }

    /// Every file below a folder with its path, links and others left out; for tools and tests. Folders come before what
    /// is in them.
    ///
    /// # Errors
    ///
    /// As for [`list`](Self::list).
    pub async fn walk(&self, path: &str) -> Result<Vec<(String, Kind)>> {
        let mut found = Vec::new();
        let mut folders = alloc::vec![String::from(path.trim_matches('/'))];
        let mut folders_left = self.folder_count_max();
        while let Some(folder) = folders.pop() {
            folders_left = folders_left.checked_sub(1).ok_or_else(|| in_circles(&folder))?;
            for entry in self.list(&folder).await? {
                let path = if folder.is_empty() { entry.name } else { alloc::format!("{folder}/{}", entry.name) };
                if entry.kind == Kind::Folder {
                    folders.push(path.clone());
                }
                found.push((path, entry.kind));
            }
        }
        Ok(found)
    }
}

pub(crate) fn in_circles(folder: &str) -> Error {
    Error::new("list", folder, Cause::damaged("a folder is in itself, or there are more than there can be"))
}

impl core::fmt::Debug for Volume {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Volume({:?})", self.info())
    }
}
