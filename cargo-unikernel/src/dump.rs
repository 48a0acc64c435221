//! `cargo unikernel dump`: the memory of a machine as an ELF core, for `cargo unikernel debug --core` or plain gdb.
//!
//! QEMU writes the core. We add two notes: where the image's entry lies at this boot, by which gdb moves the symbols to
//! where the code is; and of which build the image is.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use object::{
    Endianness, LittleEndian, Object, ObjectSymbol, ReadCache,
    elf::{FileHeader64, NoteType, PT_LOAD, PT_NOTE},
    read::elf::{FileHeader, ProgramHeader},
};

use crate::{
    console::build_id,
    fs::{print, unless_unheard},
    image,
    qemu::quote,
    qmp::Qmp,
    registry,
};

/// Which VM, and where to.
#[derive(clap::Args)]
pub struct Arguments {
    /// The VM: the process id of its runner, or the name of its image. Not needed when only one is running.
    vm: Option<String>,
    /// The file to write; NAME-PID.core by default.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

/// Writes the core of a VM that runs, which stands still meanwhile.
pub fn exec(arguments: Arguments) -> Result<u8> {
    let vm = registry::find(arguments.vm.as_deref())?;
    let file = arguments.to.unwrap_or_else(|| format!("{}-{}.core", vm.name, vm.pid).into());
    let elf = image::read(&vm.image)?;
    ensure!(
        vm.build_id == build_id(&elf),
        "{} was built again since this VM was started, so the core could not be read; start the VM again, or put the build back \
         that it was started with",
        vm.image.display()
    );
    write(&mut Qmp::connect(&vm.monitor)?, &file, &elf)?;
    let text = format!("{}: open it with `{}`", file.display(), how_to_open(&file, &vm.image));
    unless_unheard(print(&text).map(|()| 0).map_err(Into::into))
}

/// What to type to look at a core.
pub fn how_to_open(core: &Path, image: &Path) -> String {
    let word = |path: &Path| quote(&path.display().to_string());
    format!("cargo unikernel debug --core {} --image {}", word(core), word(image))
}

/// Writes the core of the machine behind this monitor, whose image is `elf`.
pub fn write(qmp: &mut Qmp, file: &Path, elf: &[u8]) -> Result<()> {
    ensure!(!file.exists(), "{} is there already; remove it, or choose another file", file.display());
    // Under its own name there is a whole core or none, however we end.
    let part = part_of(file);
    // Memory holds secrets, and QEMU would not ask before it replaces a file.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
    made.with_context(|| format!("cannot make {}; if it is there and nobody writes it, remove it", part.display()))?;
    let written = fs::canonicalize(&part).map_err(Into::into).and_then(|part| qmp.dump(&part));
    let named = || fs::rename(&part, file).with_context(|| format!("cannot make {}", file.display()));
    written.and_then(|()| add_notes(&part, elf)).and_then(|()| named()).inspect_err(|_| {
        // Half a core helps nobody.
        let _ = fs::remove_file(&part);
    })
}

/// Where a core is until it is whole.
fn part_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Writes the core of a machine that has halted after a crash, and says where it is.
pub fn after_crash(qmp: &mut Qmp, folder: &Path, image: &Path, elf: &[u8]) {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    let file = folder.join(format!("{name}-{}.core", std::process::id()));
    let made = fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()));
    match made.and_then(|()| write(qmp, &file, elf)) {
        Ok(()) => eprintln!("unikernel: the core is in {}: `{}`", file.display(), how_to_open(&file, image)),
        Err(problem) => eprintln!("unikernel: no core was written: {problem:#}"),
    }
}

/// Adds what gdb takes from the auxiliary vector of a process, the entry's address; and for us, which image it is of.
fn add_notes(core: &Path, elf: &[u8]) -> Result<()> {
    let entry = object::File::parse(elf).context("the image is no ELF file")?.entry();
    let entry = entry.wrapping_add(slide(core, elf)?);
    let mut file = OpenOptions::new().read(true).write(true).open(core)?;
    let notes = Notes::find(&file)?;
    let mut bytes = vec![0; notes.len as usize];
    file.seek(SeekFrom::Start(notes.offset))?;
    file.read_exact(&mut bytes)?;
    bytes.extend(auxiliary_note(entry));
    bytes.extend(build_id(elf).iter().flat_map(|id| note(NOTE_NAME, NOTE_BUILD_ID, id.as_bytes())));
    let end = file.seek(SeekFrom::End(0))?.next_multiple_of(8);
    file.seek(SeekFrom::Start(end))?;
    file.write_all(&bytes)?;
    for (field, value) in [(OFFSET, end), (FILE_LEN, bytes.len() as u64), (MEMORY_LEN, bytes.len() as u64)] {
        file.seek(SeekFrom::Start(notes.header + field))?;
        file.write_all(&value.to_le_bytes())?;
    }
    Ok(())
}

/// Places of fields in a program header (ELF-64 object file format, figure 6).
const OFFSET: u64 = 8;
const FILE_LEN: u64 = 32;
const MEMORY_LEN: u64 = 40;

/// Where a core's notes are, and the program header that says so.
struct Notes {
    header: u64,
    offset: u64,
    len: u64,
}

impl Notes {
    fn find(core: &File) -> Result<Notes> {
        let data = ReadCache::new(core);
        let head = FileHeader64::<Endianness>::parse(&data).context("QEMU wrote no ELF file")?;
        let endian = head.endian()?;
        let headers = head.program_headers(endian, &data)?;
        let number = headers.iter().position(|header| header.p_type(endian) == PT_NOTE);
        let number = number.context("QEMU wrote a core without notes")?;
        let header = head.e_phoff.get(endian) + number as u64 * u64::from(head.e_phentsize.get(endian));
        let (offset, len) = headers[number].file_range(endian);
        Ok(Notes { header, offset, len })
    }
}

/// A note with the auxiliary vector of a process: pairs of a key and a value, ended by zeros.
fn auxiliary_note(entry: u64) -> Vec<u8> {
    const NT_AUXV: u32 = 6;
    const AT_ENTRY: u64 = 9;
    let vector: Vec<u8> = [AT_ENTRY, entry, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    note(b"CORE\0", NT_AUXV, &vector)
}

/// Our own note: the build id of the image, in hexadecimal digits.
const NOTE_NAME: &[u8] = b"unikernel\0";
const NOTE_BUILD_ID: u32 = 1;

/// A note (ELF-64 object file format, 7): lengths and type, then name and content, each padded to four bytes.
fn note(name: &[u8], kind: u32, content: &[u8]) -> Vec<u8> {
    let mut note: Vec<u8> =
        [name.len() as u32, content.len() as u32, kind].iter().flat_map(|word| word.to_le_bytes()).collect();
    for part in [name, content] {
        note.extend(part);
        note.resize(note.len().next_multiple_of(4), 0);
    }
    note
}

/// The build id of the image that a core is of; `None` if somebody else made the core.
fn build_id_of_core(core: &Path) -> Result<Option<String>> {
    let file = File::open(core).with_context(|| format!("cannot read {}", core.display()))?;
    let data = ReadCache::new(&file);
    let head = FileHeader64::<LittleEndian>::parse(&data).context("the core is no ELF file")?;
    let headers = head.program_headers(LittleEndian, &data).context("the core is damaged")?;
    for header in headers {
        let Some(mut notes) = header.notes(LittleEndian, &data).context("the core is damaged")? else { continue };
        while let Some(note) = notes.next().context("the core is damaged")? {
            if note.name_bytes() == NOTE_NAME && note.n_type(LittleEndian) == NoteType(NOTE_BUILD_ID) {
                return Ok(Some(String::from_utf8_lossy(note.desc()).into_owned()));
            }
        }
    }
    Ok(None)
}

/// Whether a core is of this image, as far as it says.
pub fn check_build(core: &Path, elf: &[u8]) -> Result<()> {
    let (of_core, of_image) = (build_id_of_core(core)?, build_id(elf));
    if of_core.is_none() || of_core == of_image {
        return Ok(());
    }
    let shown = |id: Option<String>| id.unwrap_or("(none)".into());
    bail!(
        "the core is not of this image, but of build {}, and the image is build {}; give the image that was running with `--image`",
        shown(of_core),
        shown(of_image)
    )
}

/// How far the image lies from where it was linked, by what it left in memory for us. 0 for one that had not begun.
pub fn slide(core: &Path, elf: &[u8]) -> Result<u64> {
    const MAGIC: &[u8] = b"UKLAYOUT";
    let file = object::File::parse(elf).context("the image is no ELF file")?;
    let Some(layout) = file.symbol_by_name("__unikernel_layout") else { return Ok(0) };
    // It lies physically where it was linked.
    let facts = physical(&File::open(core)?, layout.address(), 24)?;
    let word = |at: usize| u64::from_le_bytes(facts[at..at + 8].try_into().expect("eight bytes"));
    if facts[..8] == [0; 8] {
        return Ok(0);
    }
    ensure!(facts.starts_with(MAGIC), "the core is not of this image; was the image built again since?");
    ensure!(word(8) == 1, "the core is of an image of another version; use its own `cargo unikernel`");
    Ok(word(16))
}

/// Bytes of a core by their physical address.
fn physical(core: &File, address: u64, len: u64) -> Result<Vec<u8>> {
    let data = ReadCache::new(core);
    let head = FileHeader64::<LittleEndian>::parse(&data).context("the core is no ELF file")?;
    let headers = head.program_headers(LittleEndian, &data).context("the core is damaged")?;
    let holds = |start: u64, size: u64| address >= start && address + len <= start.saturating_add(size);
    let found = headers.iter().find(|header| {
        header.p_type(LittleEndian) == PT_LOAD && holds(header.p_paddr(LittleEndian), header.p_filesz(LittleEndian))
    });
    let header = found.with_context(|| format!("the core has no memory at the physical address {address:#x}"))?;
    let mut bytes = vec![0; len as usize];
    let mut core = core;
    core.seek(SeekFrom::Start(header.p_offset(LittleEndian) + address - header.p_paddr(LittleEndian)))?;
    core.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{BufRead, BufReader},
        os::unix::net::UnixStream,
        thread,
    };

    /// QEMU's monitor, which does nothing and says that it is done.
    fn monitor() -> Qmp {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::spawn(move || {
            for _ in BufReader::new(&theirs).lines() {
                writeln!(&theirs, "{{\"return\": {{}}}}").unwrap();
            }
        });
        Qmp::new(ours).unwrap()
    }

    #[test]
    fn there_is_a_whole_core_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a core");
        let check = |part: &str| {
            let error = format!("{:#}", write(&mut monitor(), &file, b"no image").unwrap_err());
            assert!(error.contains(part), "{error}");
        };
        let names = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        check("the image is no ELF file");
        assert_eq!(names().count(), 0);
        fs::write(&file, "of somebody").unwrap();
        check("is there already; remove it, or choose another file");
        assert_eq!(fs::read(&file).unwrap(), b"of somebody");
        fs::rename(&file, part_of(&file)).unwrap();
        check("a core.part; if it is there and nobody writes it, remove it");
        assert_eq!(names().collect::<Vec<_>>(), ["a core.part"]);
    }

    #[test]
    fn the_way_to_open_it_can_be_pasted() {
        let open = how_to_open(Path::new("my cores/a.core"), Path::new("target/hello"));
        assert_eq!(open, "cargo unikernel debug --core 'my cores/a.core' --image target/hello");
    }

    /// A core with these notes and nothing else (ELF-64 object file format, 3 and 6).
    fn core(notes: &[u8]) -> Vec<u8> {
        let mut core = b"\x7fELF\x02\x01\x01".to_vec();
        core.resize(64, 0);
        // ET_CORE of x86-64, version 1, with one program header behind the head.
        core[16..24].copy_from_slice(&[4, 0, 62, 0, 1, 0, 0, 0]);
        core[32] = 64;
        core[52..58].copy_from_slice(&[64, 0, 56, 0, 1, 0]);
        core.extend(PT_NOTE.0.to_le_bytes());
        core.resize(64 + 56, 0);
        core[64 + 8] = 64 + 56;
        core[64 + 32] = notes.len() as u8;
        core[64 + 48] = 4;
        core.extend(notes);
        core
    }

    #[test]
    fn a_core_says_which_build_it_is_of() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let check = |notes: &[u8], expected: Option<&str>| {
            fs::write(file.path(), core(notes)).unwrap();
            assert_eq!(build_id_of_core(file.path()).unwrap().as_deref(), expected);
        };
        let ours = note(NOTE_NAME, NOTE_BUILD_ID, b"0123abc");
        check(&[], None);
        check(&auxiliary_note(7), None);
        check(&[auxiliary_note(7), ours.clone()].concat(), Some("0123abc"));
        check(&note(NOTE_NAME, NOTE_BUILD_ID + 1, b"0123abc"), None);
        fs::write(file.path(), core(&ours)).unwrap();
        let error = check_build(file.path(), b"another image").unwrap_err().to_string();
        assert!(error.contains("of build 0123abc, and the image is build (none)"), "{error}");
        fs::write(file.path(), "nothing").unwrap();
        assert!(build_id_of_core(file.path()).is_err());
    }
}
