//! The disks of a VM: collected from the package and the command line in their order, then found or made on the
//! workstation.

use std::{
    collections::hash_map::DefaultHasher,
    fs::{self, File, OpenOptions},
    hash::{Hash, Hasher},
    io::{self, ErrorKind, Read},
    os::unix::fs::{FileExt, FileTypeExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::{
    disk::{DiskFile, Name, Size, VolumeFile},
    fs::{Source, write_content},
};

/// A disk before it is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drive {
    /// An image or a folder.
    Disk(DiskFile),
    /// A disk that is kept.
    Volume(VolumeFile),
    /// A volume of a package in a test: empty, and forgotten when the VM ends.
    Scratch(Name, Size),
}

impl Drive {
    fn name(&self) -> Option<&Name> {
        match self {
            Drive::Disk(disk) => disk.serial.as_ref(),
            Drive::Volume(volume) => Some(&volume.name),
            Drive::Scratch(name, _) => Some(name),
        }
    }

    fn is_disk(&self) -> bool {
        matches!(self, Drive::Disk(_))
    }
}

/// The `--disk` and `--volume` of a command line, in its order, which becomes that of the bus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriveOptions(pub Vec<Drive>);

const DISK_HELP: &str = "\
    Attaches a raw image, or a folder as a read-only image of its files; repeat for several. Replaces the package's disks";
const VOLUME_HELP: &str = "\
    Attaches a disk that is made at first use, with 64M if nothing else is said, and kept; the app asks for it by its \
    name. Repeat for several. Replaces the package's volume of this name";

impl clap::Args for DriveOptions {
    fn augment_args(command: Command) -> Command {
        let parse_disk = |text: &str| text.parse().map(Drive::Disk);
        let parse_volume = |text: &str| text.parse().map(Drive::Volume);
        let option = |name: &'static str| Arg::new(name).long(name).action(ArgAction::Append);
        command
            .arg(option("disk").value_name("FILE|FOLDER[,serial=NAME][,ro]").help(DISK_HELP).value_parser(parse_disk))
            .arg(option("volume").value_name("NAME=FILE[,size=SIZE]").help(VOLUME_HELP).value_parser(parse_volume))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for DriveOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<DriveOptions, clap::Error> {
        let mut found = Vec::new();
        for name in ["disk", "volume"] {
            let drives = matches.get_many::<Drive>(name).into_iter().flatten().cloned();
            found.extend(matches.indices_of(name).into_iter().flatten().zip(drives));
        }
        found.sort_by_key(|(place, _)| *place);
        Ok(DriveOptions(found.into_iter().map(|(_, drive)| drive).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl DriveOptions {
    /// The words that give these options again.
    pub fn words(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|drive| match drive {
            Drive::Disk(disk) => Some(format!("--disk={disk}")),
            Drive::Volume(volume) => Some(format!("--volume={volume}")),
            Drive::Scratch(..) => None,
        })
    }
}

/// What `[package.metadata.unikernel]` says, with paths from the package's folder.
pub fn of_package(disks: &[String], volumes: &[String], folder: &Path) -> Result<Vec<Drive>, String> {
    let disk = |text: &String| {
        let disk: DiskFile = text.parse()?;
        Ok(Drive::Disk(DiskFile { path: folder.join(&disk.path), ..disk }))
    };
    let volume = |text: &String| {
        let volume: VolumeFile = text.parse()?;
        Ok(Drive::Volume(VolumeFile { path: folder.join(&volume.path), ..volume }))
    };
    disks.iter().map(disk).chain(volumes.iter().map(volume)).collect()
}

/// The drives of a test: none of the package's disks, and its volumes empty, so that it leaves the app's alone.
pub fn for_test(package: Vec<Drive>) -> Vec<Drive> {
    let scratch = |drive| match drive {
        Drive::Volume(volume) => Some(Drive::Scratch(volume.name, volume.size.unwrap_or(Size::DEFAULT))),
        _ => None,
    };
    package.into_iter().filter_map(scratch).collect()
}

/// Merges the package's with those of the command line. A disk there replaces all disks of the package, and comes
/// first; a volume replaces the one of its name, in its place.
pub fn merge(mut package: Vec<Drive>, DriveOptions(options): DriveOptions) -> Result<Vec<Drive>, String> {
    let mut more = Vec::new();
    for drive in options {
        let same = |other: &&mut Drive| !other.is_disk() && !drive.is_disk() && other.name() == drive.name();
        match package.iter_mut().find(same) {
            Some(place) => *place = drive,
            None => more.push(drive),
        }
    }
    let drives: Vec<Drive> = match more.iter().any(Drive::is_disk) {
        true => more.into_iter().chain(package.into_iter().filter(|drive| !drive.is_disk())).collect(),
        false => package.into_iter().chain(more).collect(),
    };
    for (place, drive) in drives.iter().enumerate() {
        if let Some(name) = drive.name().filter(|name| drives[..place].iter().any(|other| other.name() == Some(name))) {
            return Err(format!("two disks have the name `{name}`; give each a name of its own"));
        }
    }
    Ok(drives)
}

/// A disk that QEMU can open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The raw image.
    pub file: PathBuf,
    /// Its serial.
    pub serial: Option<Name>,
    /// What may be done with it.
    pub access: Access,
}

/// What the VM may do with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and write.
    Write,
    /// Only read.
    Read,
    /// Write, into a file that QEMU forgets.
    Scratch,
}

/// Finds each image, and makes those that are not there yet; `image` is the ELF, beside which temporary ones lie.
pub fn attach(drives: &[Drive], image: &Path) -> Result<Vec<Attached>> {
    let attach_one = |drive: &Drive| match drive {
        Drive::Disk(disk) => attach_disk(disk, image),
        Drive::Volume(volume) => attach_volume(volume),
        Drive::Scratch(name, size) => {
            let file = image.with_extension(format!("{size}.blank"));
            make_blank(&file, *size)?;
            Ok(Attached { file, serial: Some(name.clone()), access: Access::Scratch })
        }
    };
    drives.iter().map(attach_one).collect()
}

/// The same for a VM that is not started: nothing is made.
pub fn plan(drives: &[Drive], image: &Path) -> Result<Vec<Attached>> {
    let plan_one = |drive: &Drive| match drive {
        Drive::Disk(disk) if disk.path.is_dir() => {
            let file = place_of_folder(&disk.path, image)?.1;
            Ok(Attached { file, serial: disk.serial.clone(), access: Access::Read })
        }
        Drive::Disk(disk) => attach_disk(disk, image),
        Drive::Volume(VolumeFile { name, path, .. }) => {
            Ok(Attached { file: path.clone(), serial: Some(name.clone()), access: Access::Write })
        }
        Drive::Scratch(name, size) => {
            let file = image.with_extension(format!("{size}.blank"));
            Ok(Attached { file, serial: Some(name.clone()), access: Access::Scratch })
        }
    };
    drives.iter().map(plan_one).collect()
}

fn attach_disk(disk: &DiskFile, image: &Path) -> Result<Attached> {
    let path = disk.path.display();
    let metadata = fs::metadata(&disk.path).map_err(|error| not_found(disk, &error))?;
    if metadata.is_dir() {
        let file = image_of_folder(&disk.path, image)?;
        return Ok(Attached { file, serial: disk.serial.clone(), access: Access::Read });
    }
    let kind = metadata.file_type();
    ensure!(kind.is_file() || kind.is_block_device(), "{path} is neither a file nor a block device; give a raw image");
    ensure!(!kind.is_file() || metadata.len() > 0, "{path} is empty; give it a size with `truncate -s 64M {path}`");
    File::open(&disk.path).with_context(|| format!("cannot read {path}; is it yours? `chmod u+r` may help"))?;
    let is_writable = !disk.is_read_only && OpenOptions::new().write(true).open(&disk.path).is_ok();
    let access = if is_writable { Access::Write } else { Access::Read };
    Ok(Attached { file: disk.path.clone(), serial: disk.serial.clone(), access })
}

/// An image of the folder beside the ELF. It is made anew when something in the folder has changed; machines that have the
/// old one keep it.
fn image_of_folder(folder: &Path, image: &Path) -> Result<PathBuf> {
    let shown = folder.display();
    let (whole, file) = place_of_folder(folder, image)?;
    let source = Source::scan(&whole, None)?;
    let print = format!("{:016x}\n", source.fingerprint());
    let mut stamp =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(file.with_extension("stamp"));
    let stamp = stamp.as_mut().map_err(|error| anyhow!("cannot make an image of {shown}: {error}"))?;
    // Two machines that start at once make one image.
    stamp.lock().with_context(|| format!("cannot lock the image of {shown}"))?;
    let mut last = String::new();
    stamp.read_to_string(&mut last).with_context(|| format!("cannot read the stamp of {shown}'s image"))?;
    if last != print || !file.exists() {
        // Until the new one is there, nothing vouches for the old one.
        stamp.set_len(0)?;
        write_content(&source, false, &file).with_context(|| format!("cannot make an image of {shown}"))?;
        stamp.write_all_at(print.as_bytes(), 0)?;
    }
    Ok(file)
}

/// The folder by its whole path, and where its image is.
fn place_of_folder(folder: &Path, image: &Path) -> Result<(PathBuf, PathBuf)> {
    let whole = folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?;
    let mut hasher = DefaultHasher::new();
    whole.hash(&mut hasher);
    Ok((whole, image.with_extension(format!("{:016x}.disk", hasher.finish()))))
}

fn not_found(disk: &DiskFile, error: &io::Error) -> anyhow::Error {
    let path = disk.path.display();
    let option = disk.path.to_string_lossy().rsplit_once(',').map(|(_, option)| option.to_owned());
    match (error.kind(), option) {
        (ErrorKind::NotFound, Some(option)) => {
            anyhow!("there is no disk {path}; if `{option}` is meant as an option: there are `,serial=NAME` and `,ro`")
        }
        (ErrorKind::NotFound, None) => anyhow!(
            "there is no disk {path}; make one from a folder with `cargo unikernel image fs create -o {path} FOLDER`, \
             or a blank one that is kept with `--volume NAME={path}`"
        ),
        _ => anyhow!("cannot look at the disk {path}: {error}"),
    }
}

fn attach_volume(volume: &VolumeFile) -> Result<Attached> {
    let VolumeFile { name, path, size } = volume;
    let shown = path.display();
    if make_blank(path, size.unwrap_or(Size::DEFAULT))? == Made::Before {
        let metadata = fs::metadata(path).with_context(|| format!("cannot look at the volume {shown}"))?;
        ensure!(!metadata.is_dir(), "{shown} is a folder; a volume is a file: `--volume {name}={shown}/{name}.img`");
        ensure!(!metadata.is_file() || metadata.len() > 0, "{shown} is empty; remove it, and it is made anew");
        if let Some(size) = size.filter(|size| metadata.is_file() && size.bytes() != metadata.len()) {
            let len = metadata.len();
            eprintln!("unikernel: {shown} is there with {len} bytes and stays so; `size={size}` is for a new one");
        }
        let writable = OpenOptions::new().read(true).write(true).open(path);
        writable
            .with_context(|| format!("cannot write to {shown}; to only read it: `--disk {shown},serial={name},ro`"))?;
    }
    Ok(Attached { file: path.clone(), serial: Some(name.clone()), access: Access::Write })
}

#[derive(PartialEq, Eq)]
enum Made {
    Now,
    Before,
}

/// Makes a file of zeros that takes no room yet, unless there is one.
fn make_blank(path: &Path, size: Size) -> Result<Made> {
    let file = match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(Made::Before),
        file => file.with_context(|| format!("cannot make the disk {}; is its folder there?", path.display()))?,
    };
    let grown = file.set_len(size.bytes());
    if grown.is_err() {
        // It was made just now, and holds nothing.
        let _ = fs::remove_file(path);
    }
    grown.with_context(|| format!("cannot make the disk {} of {size}; choose a smaller size", path.display()))?;
    Ok(Made::Now)
}

/// QEMU's words for an image that another machine has, in ours; `None` for every other line.
///
/// QEMU says it in two lines, of which only the second has the file.
pub fn explain(line: &str) -> Option<String> {
    if line.contains("Failed to get") && line.ends_with("\"write\" lock") {
        return Some(String::new());
    }
    let file = line.strip_prefix("Is another process using the image [")?.strip_suffix("]?")?;
    Some(format!(
        "unikernel: {file} is in use: another VM has it, or this one has it twice. Stop the other one, or work on a copy; \
         several may have it at once if each has it with `--disk {file},ro`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        drives: DriveOptions,
    }

    fn options(words: &str) -> DriveOptions {
        let line: Line = clap::Parser::parse_from(["line"].into_iter().chain(words.split_whitespace()));
        line.drives
    }

    fn check(package: (&[&str], &[&str]), words: &str, expected: Result<&str, &str>) {
        let strings = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        let package = of_package(&strings(package.0), &strings(package.1), Path::new("/p")).unwrap();
        let merged =
            merge(package, options(words)).map(|drives| DriveOptions(drives).words().collect::<Vec<_>>().join(" "));
        assert_eq!(merged.as_deref().map_err(String::as_str), expected, "{words}");
    }

    #[test]
    fn the_order_of_the_line_is_kept() {
        check((&[], &[]), "--volume a=a.img --disk b --volume c=c", Ok("--volume=a=a.img --disk=b --volume=c=c"));
    }

    #[test]
    fn the_line_replaces_what_the_package_has() {
        let package: (&[&str], &[&str]) = (&["site", "/more"], &["state=s.img,size=1M", "log=l.img"]);
        let own = "--disk=/p/site --disk=/more --volume=state=/p/s.img,size=1M --volume=log=/p/l.img";
        check(package, "", Ok(own));
        check(package, "--volume new=n", Ok(&format!("{own} --volume=new=n")));
        check(package, "--volume log=x", Ok(&own.replace("/p/l.img", "x")));
        let other = "--disk=other --volume=state=/p/s.img,size=1M --volume=log=/p/l.img";
        check(package, "--disk other", Ok(other));
    }

    #[test]
    fn names_are_unique() {
        let error = "two disks have the name `a`; give each a name of its own";
        check((&[], &[]), "--volume a=x --disk y,serial=a", Err(error));
        check((&[], &["a=x", "a=y"]), "", Err(error));
    }

    #[test]
    fn a_test_has_empty_volumes() {
        let package = of_package(&["site".into()], &["state=s.img".into()], Path::new("/p")).unwrap();
        let [Drive::Scratch(name, size)] = &for_test(package)[..] else { panic!() };
        assert_eq!((name.to_string(), *size), ("state".into(), Size::DEFAULT));
    }

    #[test]
    fn other_lines_stay() {
        assert_eq!(explain("qemu-system-x86_64: no such device"), None);
        assert_eq!(explain("qemu: -device x: Failed to get shared \"write\" lock"), Some(String::new()));
        assert!(explain("Is another process using the image [a b.img]?").unwrap().contains("a b.img is in use"));
    }
}
