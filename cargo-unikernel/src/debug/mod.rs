//! `cargo unikernel debug`: a machine, or its core, in gdb, with symbols where the code lies at this boot.
//!
//! The machine is started by a runner of its own, paused. `uk.py`, which gdb runs, lets it boot to where the image has its
//! address, moves the symbols there, and goes on to the app's entry.

use std::{
    env, fs,
    io::{self, BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, atomic::AtomicBool},
    thread,
};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSymbol};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{consts::SIGINT, flag};

use crate::{
    build::{self, Selection},
    dump, image, registry,
    settings::Options,
};

/// Our commands for gdb.
const COMMANDS: &str = include_str!("uk.py");

/// What the runner says when a debugger can be attached.
pub const READY: &str = "unikernel: waiting for a debugger";

/// Options that say nothing about a finished image.
const OF_A_BUILD: [&str; 3] = ["package", "release", "features"];
/// Options that say nothing about a core.
const OF_A_MACHINE: [&str; 14] = [
    "ports",
    "memory",
    "machine",
    "nets",
    "modules",
    "variables",
    "env_files",
    "disk",
    "volume",
    "pcap",
    "dump_on_crash",
    "timeout",
    "boot",
    "breaks",
];

/// What to debug, and what gdb is to do first.
#[derive(clap::Args)]
// Here `-p` means what it means to cargo.
#[command(mut_arg("ports", |port| port.short(None)))]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// A finished image, instead of building one.
    #[arg(long, value_name = "ELF", conflicts_with_all = OF_A_BUILD)]
    image: Option<PathBuf>,
    /// Looks at a core from `cargo unikernel dump` instead of starting a machine.
    #[arg(long, value_name = "FILE", conflicts_with_all = OF_A_MACHINE)]
    core: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
    /// A boot argument; repeat for several.
    #[arg(long = "boot", value_name = "KEY=VALUE")]
    boot: Vec<String>,
    /// Stops there: FILE:LINE or a function; repeat for several.
    #[arg(long = "break", value_name = "PLACE")]
    breaks: Vec<String>,
    /// Runs a command of gdb when everything is set up; repeat for several.
    #[arg(long = "command", value_name = "COMMAND")]
    commands: Vec<String>,
    /// Options for gdb, such as `-batch` or `-tui`.
    #[arg(last = true)]
    gdb: Vec<String>,
}

/// Runs gdb until it ends; the result is its exit code.
pub fn exec(arguments: Arguments) -> Result<u8> {
    check_gdb()?;
    let image = match &arguments.image {
        Some(image) => image.clone(),
        None => build::only_image(&arguments.selection)?,
    };
    let elf = image::read(&image)?;
    let folder = Folder::new()?;
    match &arguments.core {
        Some(core) => {
            // The note in the core moves the symbols; these say whether core and image belong together.
            dump::check_build(core, &elf)?;
            dump::slide(core, &elf)?;
            let open = format!("uk open {}", core.display());
            gdb(&arguments, &folder, &image, &open)
        }
        None => debug_machine(&arguments, &folder, &image, &elf),
    }
}

fn debug_machine(arguments: &Arguments, folder: &Folder, image: &Path, elf: &[u8]) -> Result<u8> {
    let socket = folder.0.join("gdb");
    registry::check_socket(&socket)?;
    let file = object::File::parse(elf).context("the image is no ELF file")?;
    let place = |name| {
        let symbol = file.symbol_by_name(name);
        symbol
            .map(|symbol| symbol.address())
            .with_context(|| format!("the image has no symbol `{name}`; build it again"))
    };
    let attach =
        format!("uk attach {} {:#x} {:#x}", word_for_gdb(&socket), place("__relocated")?, place("__unikernel_main")?);
    // gdb handles Ctrl-C; it is not our end.
    flag::register(SIGINT, Arc::new(AtomicBool::new(false))).context("cannot listen for signals")?;
    let mut machine = Machine::start(arguments, &socket, image)?;
    if !machine.is_ready()? {
        let status = machine.runner.wait().context("cannot wait for the runner")?;
        return Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1));
    }
    gdb(arguments, folder, image, &attach)
}

/// gdb with our commands; `first` is the one that makes it see something.
fn gdb(arguments: &Arguments, folder: &Folder, image: &Path, first: &str) -> Result<u8> {
    let script = folder.0.join("uk.py");
    fs::write(&script, COMMANDS).with_context(|| format!("cannot write {}", script.display()))?;
    let mut gdb = Command::new("gdb");
    gdb.env("UNIKERNEL_TOOL", env::current_exe().context("cannot find the tool's own file")?);
    gdb.env("UNIKERNEL_IMAGE", image);
    // Questions that nobody is there to answer, and the loading of files that are not trusted.
    gdb.args(["-q", "-iex", "set confirm off", "-iex", "set breakpoint pending on"]);
    if let Some(printers) = printers() {
        gdb.env("PYTHONPATH", &printers);
        gdb.arg("-iex").arg(format!("add-auto-load-safe-path {}", printers.display()));
        gdb.arg("-ix").arg(printers.join("gdb_load_rust_pretty_printers.py"));
    }
    gdb.args(&arguments.gdb).arg("-x").arg(script).arg("-ex").arg(format!("file {}", word_for_gdb(image)));
    gdb.args(["-ex", first]);
    for place in &arguments.breaks {
        gdb.arg("-ex").arg(format!("break {place}"));
    }
    for command in &arguments.commands {
        gdb.args(["-ex", command]);
    }
    let status = gdb.status().context("cannot start gdb")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// A path as a word of a command of gdb.
fn word_for_gdb(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\""))
}

/// gdb's views of Rust's types, which come with the toolchain.
fn printers() -> Option<PathBuf> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    let folder = Path::new(String::from_utf8(output.stdout).ok()?.trim()).join("lib/rustlib/etc");
    folder.join("gdb_load_rust_pretty_printers.py").is_file().then_some(folder)
}

/// Fails where there is no gdb that has Python.
pub(crate) fn check_gdb() -> Result<()> {
    let output = Command::new("gdb").args(["-nx", "-batch", "-ex", "python print(6 * 7)"]).output();
    let Ok(output) = output else {
        bail!("gdb is missing; install it (Debian, Ubuntu: `apt install gdb`). lldb is not supported yet");
    };
    if String::from_utf8_lossy(&output.stdout).trim() != "42" {
        bail!("this gdb has no Python, in which our commands are written; install the distribution's full gdb");
    }
    Ok(())
}

/// The runner of a paused machine. Dropping it ends the machine.
struct Machine {
    runner: Child,
    console: Option<BufReader<ChildStdout>>,
}

impl Machine {
    fn start(arguments: &Arguments, socket: &Path, image: &Path) -> Result<Machine> {
        let own = env::current_exe().context("cannot find the tool's own file")?;
        let mut runner = Command::new(&own);
        // So that it ends with us, and the machine with it, however we end.
        runner.arg("babysit").arg(std::process::id().to_string()).arg("--").arg(&own);
        runner.arg("runner").arg(image).args(arguments.options.words()).arg("--gdb").arg(socket).args(&arguments.boot);
        // In a group of its own, so that Ctrl-C in gdb does not end it.
        runner.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut runner = runner.spawn().context("cannot start the runner")?;
        let console = runner.stdout.take().map(BufReader::new);
        Ok(Machine { runner, console })
    }

    /// Waits until gdb can attach, then passes the console on. False when the runner ended instead.
    fn is_ready(&mut self) -> Result<bool> {
        let mut console = self.console.take().context("asked twice")?;
        let mut line = String::new();
        console.read_line(&mut line)?;
        if line.trim_end() != READY {
            return Ok(false);
        }
        // It ends with the runner.
        thread::spawn(move || io::copy(&mut console, &mut io::stdout()));
        Ok(true)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // At once: a machine that stands at a breakpoint sees no power button.
        if let Some(pid) = i32::try_from(self.runner.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::QUIT);
        }
        let _ = self.runner.wait();
    }
}

/// A private folder that goes with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder> {
        let folder = registry::folder()?.join(format!("debug-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Folder(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It is in the user's own folder of temporary things.
        let _ = fs::remove_dir_all(&self.0);
    }
}
