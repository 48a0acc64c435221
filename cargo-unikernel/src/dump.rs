//! `cargo unikernel dump`: the memory of a machine as an ELF core, for `cargo unikernel debug --core` or plain gdb.
//!
//! QEMU writes the core. We add one note: where the image's entry lies at this boot, by which gdb moves the symbols to
//! where the code is.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use object::{
    Endianness, LittleEndian, Object, ObjectSymbol, ReadCache,
    elf::{FileHeader64, PT_LOAD, PT_NOTE},
    read::elf::{FileHeader, ProgramHeader},
};

use crate::{image, qmp::Qmp, registry};

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
    write(&mut Qmp::connect(&vm.monitor)?, &file, &elf)?;
    println!("{}: open it with `{}`", file.display(), how_to_open(&file, &vm.image));
    Ok(0)
}

/// What to type to look at a core.
pub fn how_to_open(core: &Path, image: &Path) -> String {
    format!("cargo unikernel debug --core {} --image {}", core.display(), image.display())
}

/// Writes the core of the machine behind this monitor, whose image is `elf`.
pub fn write(qmp: &mut Qmp, file: &Path, elf: &[u8]) -> Result<()> {
    // Memory holds secrets, and QEMU would not ask before it replaces a file.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    made.with_context(|| format!("cannot make {}", file.display()))?;
    let written = fs::canonicalize(file).map_err(Into::into).and_then(|file| qmp.dump(&file));
    written.and_then(|()| add_entry(file, elf)).inspect_err(|_| {
        // Half a core helps nobody.
        let _ = fs::remove_file(file);
    })
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

/// Adds what gdb takes from the auxiliary vector of a process: the entry's address.
fn add_entry(core: &Path, elf: &[u8]) -> Result<()> {
    let entry = object::File::parse(elf).context("the image is no ELF file")?.entry();
    let entry = entry.wrapping_add(slide(core, elf)?);
    let mut file = OpenOptions::new().read(true).write(true).open(core)?;
    let notes = Notes::find(&file)?;
    let mut bytes = vec![0; notes.len as usize];
    file.seek(SeekFrom::Start(notes.offset))?;
    file.read_exact(&mut bytes)?;
    bytes.extend(auxiliary_note(entry));
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
    let mut note: Vec<u8> = [5, vector.len() as u32, NT_AUXV].iter().flat_map(|word| word.to_le_bytes()).collect();
    note.extend(b"CORE\0\0\0\0");
    note.extend(vector);
    note
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
