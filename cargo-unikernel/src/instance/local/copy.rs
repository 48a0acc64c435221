//! Copies of files that cost little: shared by the file system where it can, and with their holes.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::{fs::SeekFrom, io::Errno};

/// Copies a file to a place where none is. The copy can be read and written by this user alone.
pub fn file(from: &Path, to: &Path) -> io::Result<()> {
    let source = File::open(from)?;
    let target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let copied = if share(&source, &target) { Ok(()) } else { copy_data(&source, &target) };
    copied.inspect_err(|_| {
        // Half a copy helps nobody.
        let _ = std::fs::remove_file(to);
    })
}

/// The file system lets both have the same blocks until one is written to (btrfs, XFS).
#[cfg(target_os = "linux")]
fn share(source: &File, target: &File) -> bool {
    rustix::fs::ioctl_ficlone(target, source).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn share(_source: &File, _target: &File) -> bool {
    false
}

/// Copies what is there; what is not stays a hole.
fn copy_data(source: &File, target: &File) -> io::Result<()> {
    let len = source.metadata()?.len();
    target.set_len(len)?;
    let mut at = 0;
    while let Some((start, end)) = next_data(source, at, len)? {
        copy_range(source, target, start, end)?;
        at = end;
    }
    Ok(())
}

/// Where data begin from here on, and where they end.
#[cfg(target_os = "linux")]
fn next_data(source: &File, at: u64, len: u64) -> io::Result<Option<(u64, u64)>> {
    let start = match rustix::fs::seek(source, SeekFrom::Data(at)) {
        Ok(start) => start,
        // There are no more (lseek(2)).
        Err(Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let end = rustix::fs::seek(source, SeekFrom::Hole(start))?;
    Ok((start < len).then_some((start, end.min(len))))
}

#[cfg(not(target_os = "linux"))]
fn next_data(_source: &File, at: u64, len: u64) -> io::Result<Option<(u64, u64)>> {
    Ok((at < len).then_some((at, len)))
}

fn copy_range(mut source: &File, mut target: &File, start: u64, end: u64) -> io::Result<()> {
    use std::io::{Read, Seek};
    source.seek(io::SeekFrom::Start(start))?;
    target.seek(io::SeekFrom::Start(start))?;
    let copied = io::copy(&mut source.take(end - start), &mut target)?;
    if copied < end - start { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

    #[test]
    fn holes_stay_holes() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let source = File::create(&from).unwrap();
        source.set_len(64 << 20).unwrap();
        source.write_all_at(b"start", 0).unwrap();
        source.write_all_at(b"middle", 40 << 20).unwrap();
        file(&from, &to).unwrap();
        let facts = std::fs::metadata(&to).unwrap();
        assert_eq!((facts.len(), facts.permissions().mode() & 0o777), (64 << 20, 0o600));
        assert!(facts.blocks() * 512 < 1 << 20, "{} blocks", facts.blocks());
        assert_eq!(std::fs::read(&from).unwrap(), std::fs::read(&to).unwrap());
        assert_eq!(file(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn all_of_a_file_without_holes() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for content in [&b""[..], b"x", &[7; 300_000]] {
            std::fs::write(&from, content).unwrap();
            file(&from, &to).unwrap();
            assert_eq!(std::fs::read(&to).unwrap(), content);
            std::fs::remove_file(&to).unwrap();
        }
    }
}
