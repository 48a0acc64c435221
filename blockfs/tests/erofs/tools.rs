//! The programs of erofs-utils, and folders for what they make.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use unikernel_blockfs::{Disk, Volume};
use unikernel_rt::sim::FileDisk;

/// An empty folder of this test's own.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("erofs").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs a program of erofs-utils, and returns what it wrote.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| {
        panic!("{program} does not start ({error}); please install the package erofs-utils (`source script/setup; setup_clients`)")
    });
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {arguments:?} failed: {text}");
    text
}

/// Makes an image of `source` beside it. Times are the same in each run.
pub fn mkfs(source: &Path, options: &[&str]) -> PathBuf {
    let image = source.with_extension("img");
    let mut arguments = [&["--quiet"], options].concat();
    arguments.extend([image.to_str().unwrap(), source.to_str().unwrap()]);
    run("mkfs.erofs", &arguments);
    image
}

pub async fn mount(image: &Path) -> Volume {
    Volume::mount(open(image)).await.unwrap()
}

pub fn open(image: &Path) -> Disk {
    Disk::new(FileDisk::device(image, false).unwrap())
}
