//! The EFI system partition: FAT32 with the UEFI loader, the kernel and its boot arguments.

use std::io::{self, Cursor, Read, Seek, Write};

use fatfs::{Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};

/// The least: FAT32 has at least 65,525 clusters, by which readers know it.
const LEN_MIN: u64 = 64 << 20;
const CLUSTER_LEN: u32 = 512;
/// Two entries of four bytes in the tables for each cluster, and a quarter more for whatever somebody adds.
const SPARE: u64 = 4;

/// What is on it.
pub(super) struct Files<'a> {
    pub(super) loader: &'a [u8],
    pub(super) kernel: &'a [u8],
    pub(super) arguments: &'a str,
}

/// The text of the file of boot arguments.
pub(super) fn arguments_file(arguments: &[String]) -> String {
    let mut text = String::from(
        "# Boot arguments of this unikernel: words such as key=value, on as many lines as you like.\n\
         # Lines that begin with # are left out. All words together may have 2048 bytes.\n",
    );
    for argument in arguments {
        text.push_str(argument);
        text.push('\n');
    }
    text
}

/// How long the partition is.
pub(super) fn len(files: &Files<'_>) -> u64 {
    let content = (files.loader.len() + files.kernel.len() + files.arguments.len()) as u64;
    LEN_MIN.max(content + content / SPARE + LEN_MIN / 2).next_multiple_of(1 << 20)
}

/// Formats the partition and writes the files.
pub(super) fn partition(files: &Files<'_>) -> io::Result<Vec<u8>> {
    let mut volume = Cursor::new(vec![0; len(files) as usize]);
    let options = FormatVolumeOptions::new().fat_type(FatType::Fat32).bytes_per_cluster(CLUSTER_LEN);
    fatfs::format_volume(&mut volume, options.volume_id(0x0014_10ad).volume_label(*b"UNIKERNEL  "))?;
    change(&mut volume, |fs| {
        fs.root_dir().create_dir("EFI")?.create_dir("BOOT")?;
        fs.root_dir().create_dir("unikernel").map(drop)
    })?;
    volume.get_mut().as_chunks_mut().0.iter_mut().for_each(mend_dots);
    change(&mut volume, |fs| fill(fs, files))?;
    Ok(volume.into_inner())
}

/// Works on a volume, and leaves it as it should be left.
pub(super) fn change<T: Read + Write + Seek>(
    mut volume: T,
    work: impl FnOnce(&FileSystem<T>) -> io::Result<()>,
) -> io::Result<()> {
    volume.rewind()?;
    let fs = FileSystem::new(volume, FsOptions::new().time_provider(&Never))?;
    work(&fs)?;
    // Counts the free clusters, which are then written down.
    fs.stats()?;
    fs.unmount()
}

fn fill<T: Read + Write + Seek>(fs: &FileSystem<T>, files: &Files<'_>) -> io::Result<()> {
    let root = fs.root_dir();
    // Where firmware looks on a disk that it knows nothing of (UEFI 2.10, 3.5.1.1).
    root.create_file("EFI/BOOT/BOOTX64.EFI")?.write_all(files.loader)?;
    root.create_file("unikernel/kernel.elf")?.write_all(files.kernel)?;
    root.create_file("unikernel/boot-arguments.txt")?.write_all(files.arguments.as_bytes())
}

/// `fatfs` 0.3.6 gives `.` and `..` long names, which no other tool does and fsck.fat takes for damage. There are only folders
/// yet, fewer than 65,536, so what looks like one is one.
fn mend_dots(cluster: &mut [u8; CLUSTER_LEN as usize]) {
    const ENTRY_LEN: usize = 32;
    const LONG_NAME: u8 = 0x0f;
    const DELETED: u8 = 0xe5;
    let entry = |index: usize| index * ENTRY_LEN..(index + 1) * ENTRY_LEN;
    let is_dot = |index, name: &[u8; 11]| cluster[entry(index)].starts_with(name);
    if cluster[11] != LONG_NAME || !is_dot(1, b".          ") || !is_dot(3, b"..         ") {
        return;
    }
    cluster.copy_within(entry(1), 0);
    cluster.copy_within(entry(3), ENTRY_LEN);
    // What leads to the root has no cluster; `fatfs` gives it the root's, which is 2.
    let first = ENTRY_LEN + 26;
    if cluster[first..first + 2] == [2, 0] {
        cluster[first] = 0;
    }
    for index in [2, 3] {
        cluster[index * ENTRY_LEN] = DELETED;
    }
}

/// Every file has the earliest time there is, so that an image does not depend on when it was made.
#[derive(Debug)]
pub(super) struct Never;

impl TimeProvider for Never {
    fn get_current_date(&self) -> Date {
        Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime { date: self.get_current_date(), time: Time { hour: 0, min: 0, sec: 0, millis: 0 } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_where_firmware_and_loaders_look() {
        let kernel = vec![7; 3 << 20];
        let arguments = arguments_file(&["ip=dhcp".into(), "log=json".into()]);
        let files = Files { loader: b"MZ", kernel: &kernel, arguments: &arguments };
        let made = partition(&files).unwrap();
        assert!(made == partition(&files).unwrap(), "the same each time");
        let fs = FileSystem::new(Cursor::new(made), FsOptions::new()).unwrap();
        assert_eq!(fs.fat_type(), FatType::Fat32);
        let read = |path: &str| {
            let mut bytes = Vec::new();
            fs.root_dir().open_file(path).unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(read("EFI/BOOT/BOOTX64.EFI"), b"MZ");
        assert!(read("unikernel/kernel.elf") == kernel);
        assert!(read("unikernel/boot-arguments.txt").ends_with(b"2048 bytes.\nip=dhcp\nlog=json\n"));
    }

    #[test]
    fn there_is_room_for_a_large_kernel() {
        let kernel = vec![1; 100 << 20];
        partition(&Files { loader: b"MZ", kernel: &kernel, arguments: "" }).unwrap();
    }
}
