//! The two files, through the firmware's own file system.

use crate::start::Problem;
use uefi::{
    CStr16, Status, boot, cstr16,
    proto::media::file::{Directory, File, FileAttribute, FileInfo, FileMode, RegularFile},
};
use unikernel_loader::{
    ReadAt,
    arguments::{self, FILE_LEN_MAX, Line},
};

const KERNEL: &CStr16 = cstr16!("\\unikernel\\kernel.elf");
const ARGUMENTS: &CStr16 = cstr16!("\\unikernel\\boot-arguments.txt");

/// The partition that this loader was started from.
pub(crate) fn partition() -> Result<Directory, Problem> {
    let what = "the partition that the loader was started from cannot be read; write the image to the disk again";
    let mut files = boot::get_image_file_system(boot::image_handle()).map_err(|error| Problem::new(what, error))?;
    files.open_volume().map_err(|error| Problem::new(what, error))
}

/// The kernel's file.
pub(crate) fn kernel(partition: &mut Directory) -> Result<Bytes, Problem> {
    let what = "unikernel\\kernel.elf cannot be opened; create the image again";
    open(partition, KERNEL).map_err(|error| Problem::new(what, error))?.ok_or(Problem::from(what))
}

/// The boot arguments; none without a file.
pub(crate) fn arguments(partition: &mut Directory) -> Result<Line, Problem> {
    let what = "unikernel\\boot-arguments.txt cannot be opened; write it anew";
    let mut file = match open(partition, ARGUMENTS) {
        Ok(file) => file.ok_or(Problem::from(what))?,
        Err(error) if error.status() == Status::NOT_FOUND => return Ok(Line::parse(b"")?),
        Err(error) => return Err(Problem::new(what, error)),
    };
    let mut text = [0; FILE_LEN_MAX];
    let len = file.len()?;
    if len > FILE_LEN_MAX as u64 {
        return Err(arguments::TOO_LONG.into());
    }
    let text = &mut text[..len as usize];
    file.read_at(0, text)?;
    Ok(Line::parse(text)?)
}

fn open(partition: &mut Directory, path: &CStr16) -> uefi::Result<Option<Bytes>> {
    let file = partition.open(path, FileMode::Read, FileAttribute::empty())?;
    Ok(file.into_regular_file().map(Bytes))
}

/// Room for what the firmware tells of a file: numbers, and a name of up to 255 characters.
#[repr(align(8))]
struct Buffer([u8; 1024]);

/// A file's bytes.
pub(crate) struct Bytes(RegularFile);

impl Bytes {
    fn len(&mut self) -> Result<u64, Problem> {
        let mut buffer = Buffer([0; 1024]);
        let info = self.0.get_info::<FileInfo>(&mut buffer.0);
        let what = "the firmware does not tell how long a file is; write the image to the disk again";
        Ok(info.map_err(|error| Problem::new(what, error.to_err_without_payload()))?.file_size())
    }
}

impl ReadAt for Bytes {
    fn read_at(&mut self, place: u64, mut bytes: &mut [u8]) -> Result<(), &'static str> {
        let failed = "the disk cannot be read; write the image to it again, or to another one";
        self.0.set_position(place).map_err(|_| failed)?;
        while !bytes.is_empty() {
            match self.0.read(bytes) {
                Ok(0) => return Err("a file of the image ends too early; create the image again"),
                Ok(len) => bytes = &mut bytes[len..],
                Err(_) => return Err(failed),
            }
        }
        Ok(())
    }
}
