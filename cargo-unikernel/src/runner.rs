//! `cargo unikernel runner`: boots a finished image and relays what it says. Cargo calls this as the runner of
//! the target, for `cargo run` and `cargo test` alike.

use std::{
    env,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    accel, announce,
    boot_disk::bare,
    console::Console,
    debug, disk, drives, dump,
    ending::Ending,
    environment::{Environment, Inherited},
    fs::{print, unless_unheard},
    image, install, module, net, package,
    port::{self, Port},
    qemu,
    qmp::Qmp,
    registry::Registration,
    settings::{Options, Settings},
    vm,
};

/// What cargo, or a person, starts the runner with.
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The image: an ELF file built for x86_64-unknown-none.
    elf: PathBuf,
    #[command(flatten)]
    options: Options,
    /// Prints the QEMU command instead of running it.
    #[arg(long)]
    dry_run: bool,
    /// Prints the address of each forwarded port once a web server answers there.
    #[arg(long)]
    announce: bool,
    /// Starts the machine paused, with QEMU's interface for debuggers at this socket.
    #[arg(long, hide = true)]
    gdb: Option<PathBuf>,
    #[command(flatten)]
    libtest: LibtestFlags,
    /// Boot arguments, `key=value`; for a test also the filter: part of the names of the tests to run.
    words: Vec<String>,
    /// Everything after `--` goes to the kernel command line unchanged.
    #[arg(last = true)]
    verbatim: Vec<String>,
}

const AFTER_HELP: &str = "\
Environment:
  UNIKERNEL_ACCEL      as --accel
  UNIKERNEL_QEMU_ARGS  more arguments for QEMU; they come last, so they win
  UNIKERNEL_TEST       set: treat the image as a test, as one in a folder `deps` is

Settings of a package, in its Cargo.toml:
  [package.metadata.unikernel]
  ports = [\"8080:80\"]   memory = \"64M\"   machine = \"q35\"   net = true
  disks = [\"site.img\"]   volumes = [\"state=state.img,size=64M\"]   (in tests: none, and empty ones)

Exit codes:
  0 success, 1 main returned an error, 2 the app could not start (device or boot argument missing or wrong),
  101 panic, 102 CPU fault or reset, 103 out of memory, 104 a test failed, 105 a task hung, 106 a stop took too long,
  124 --timeout passed, 125 the runner or QEMU failed, 128 + N ended by signal N; an app may choose others itself";

/// What people and editors pass to every `cargo test`. In a VM the console is always shown, and one test runs
/// at a time, so these change nothing.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Accepted for tests, without effect")]
struct LibtestFlags {
    #[arg(long, alias = "no-capture")]
    nocapture: bool,
    #[arg(long)]
    show_output: bool,
    #[arg(short, long)]
    quiet: bool,
    #[arg(long)]
    exact: bool,
    #[arg(long, value_name = "N")]
    test_threads: Option<usize>,
    #[arg(long, value_name = "WHEN")]
    color: Option<String>,
}

/// A test that hangs must not hang the whole run.
const TEST_TIMEOUT: Duration = Duration::from_secs(120);

/// What the app has to stop in order, by `stop-timeout=SECONDS` or the runtime's own choice.
pub(crate) fn stop_limit(boot_arguments: &[String]) -> Duration {
    let mut values = boot_arguments.iter().filter_map(|word| word.strip_prefix("stop-timeout="));
    Duration::from_secs(values.next_back().and_then(|seconds| seconds.parse().ok()).unwrap_or(10))
}

/// For a machine that notices its own bound late.
pub(crate) const STOP_MARGIN: Duration = Duration::from_secs(5);

/// Boots the image; the result is the exit code, see [`Ending::code`].
pub fn run(arguments: Arguments) -> Result<u8> {
    net::own::enter(&arguments.options.nets)?;
    let elf = image::read(&arguments.elf)?;
    let is_test = package::is_test(&arguments.elf) || env::var_os("UNIKERNEL_TEST").is_some();
    // Those in the image come first, so that the command line has the last word.
    let mut boot_arguments = bare::arguments(&elf)?;
    boot_arguments.extend(self::boot_arguments(&arguments.words, &arguments.verbatim, is_test)?);
    let cores = arguments.options.dump_on_crash.clone();
    if cores.is_some() {
        halt_on_crash(&mut boot_arguments)?;
    }
    let origin = package::origin_of(&arguments.elf)?;
    let accel = accel::choose(arguments.options.accel, accel::kvm())?;
    let mut settings = Settings::merge(&origin.settings, arguments.options, is_test).map_err(anyhow::Error::msg)?;
    if !arguments.dry_run {
        settings.ports = settle(&settings.ports)?;
    }
    let mut extra = extra_arguments()?;
    extra.extend(arguments.gdb.iter().flat_map(|socket| paused(socket)));
    let modules = module::pack(&settings.modules, &arguments.elf)?;
    let disks = drives::attach(&settings.drives, &arguments.elf)?;
    let environment = environment(&settings.environment, arguments.dry_run)?;
    let environment_path =
        environment.as_ref().map(|inherited| inherited.as_ref().map_or(SHOWN.into(), Inherited::path));
    let (orders, events) = vm::orders();
    if !arguments.dry_run {
        // Before anything is set up, so that no signal can fall between.
        orders.listen_to_signals()?;
    }
    let machine = arguments.elf.file_name().unwrap_or_default().to_string_lossy();
    let wish = net::Wish {
        machine: &machine,
        boot_arguments: &boot_arguments,
        has_command_line: true,
        is_dry: arguments.dry_run,
    };
    let mut plan = net::Plan::new(&settings, &wish)?;
    let vm = qemu::Vm {
        settings: &settings,
        networks: &plan.attachments,
        accel,
        image: &arguments.elf,
        boot_disk: None,
        modules: modules.as_deref(),
        environment: environment_path.as_deref(),
        disks: &disks,
        boot_arguments: &plan.boot_arguments,
        extra: &extra,
    };
    if arguments.dry_run {
        let line = plan.shell_lines(install::QEMU, &vm.arguments());
        return unless_unheard(print(&line).map(|()| 0).map_err(Into::into));
    }
    let program = install::qemu().map_err(anyhow::Error::msg)?;
    let timeout = settings.timeout.or(is_test.then_some(TEST_TIMEOUT));
    // A test that is stopped has not passed, and without ACPI a microvm has no power button.
    let can_stop = !is_test && !settings.machine.is_without_acpi();
    let stop = can_stop.then(|| stop_limit(&boot_arguments) + STOP_MARGIN);
    let bounds = vm::Bounds { timeout, stop, hurry: "another Ctrl-C", has_keyboard: false };
    if arguments.announce {
        announce::start(&settings.ports);
    }
    let words = vm.arguments();
    let build = Build { image: &arguments.elf, elf: &elf, workspace: origin.workspace.as_deref() };
    // Without a note `dump` does not find this VM, which is no reason not to run it.
    let registration = Registration::new(build.image, build.elf)
        .inspect_err(|problem| eprintln!("unikernel: `cargo unikernel dump` will not find this VM: {problem:#}"))
        .ok();
    let registered = registration.iter().flat_map(Registration::arguments);
    let command = plan.command(&program, words.into_iter().chain(registered).collect())?;
    let _network = plan.set_up()?;
    boot(command, build, bounds, (orders, events), arguments.gdb.is_some(), cores.as_deref())
}

/// The ports with a number each; those that had none are told.
pub(crate) fn settle(ports: &[Port]) -> Result<Vec<Port>> {
    let settled = port::settle(ports)?;
    for (_, port) in ports.iter().zip(&settled).filter(|(port, _)| port.host == 0) {
        eprintln!("unikernel: {} leads to port {} of the machine", port.place(), port.guest);
    }
    Ok(settled)
}

/// What the console is decoded with.
struct Build<'a> {
    image: &'a Path,
    elf: &'a [u8],
    workspace: Option<&'a Path>,
}

fn boot(
    (program, arguments): (PathBuf, Vec<OsString>),
    Build { image, elf, workspace }: Build<'_>,
    bounds: vm::Bounds,
    channel: (vm::Orders, vm::Events),
    is_paused: bool,
    cores: Option<&Path>,
) -> Result<u8> {
    let mut console = Console::new(image, elf, workspace, io::stdout());
    let mut listen = |bytes: &[u8]| {
        console.write(bytes)?;
        Ok(console.halted().filter(|_| cores.is_some()))
    };
    let mut halted = |qmp: &mut Qmp| {
        cores.into_iter().for_each(|folder| dump::after_crash(qmp, folder, image, elf));
    };
    let mut started = |machine: vm::Started<'_>| {
        // If it does not start, it says why, and ends.
        if is_paused && machine.qmp.wait_for_start().is_ok() {
            println!("{}", debug::READY);
        }
        Ok(())
    };
    let ending = vm::run(&program, &arguments, bounds, channel, &mut started, &mut listen, &mut halted)?;
    if ending != Ending::Unheard {
        console.finish().context("cannot write the console's last line")?;
    }
    if ending.is_crash() {
        console.repeat_report().context("cannot write the crash report")?;
    }
    if console.restarts() > 0 {
        eprintln!("unikernel: the machine crashed and started again, {} times in all", console.restarts());
    }
    if !ending.is_silent() {
        eprintln!("unikernel: {ending}");
    }
    Ok(ending.code())
}

fn boot_arguments(words: &[String], verbatim: &[String], is_test: bool) -> Result<Vec<String>> {
    let mut arguments = Vec::new();
    for word in words {
        match (word.contains('='), is_test) {
            (true, _) => arguments.push(word.clone()),
            (false, true) => arguments.push(format!("test={word}")),
            (false, false) => bail!("`{word}` is no boot argument; write key=value, such as `ip=10.0.2.15/24`"),
        }
    }
    arguments.extend_from_slice(verbatim);
    Ok(arguments)
}

/// What a dry run shows instead of a file that is in memory.
const SHOWN: &str = "ENVIRONMENT";

/// The environment for QEMU, or for who looks at the command what stands there; `None` without variables.
fn environment(environment: &Environment, is_dry_run: bool) -> Result<Option<Option<Inherited>>> {
    if environment.is_empty() {
        return Ok(None);
    }
    if is_dry_run {
        eprintln!("unikernel: {SHOWN} stands for a file with the lines `env.NAME=\"VALUE\"`, which is in memory only");
        return Ok(Some(None));
    }
    Inherited::of(environment).map(Some).map(Some)
}

/// So that there is something to dump.
pub(crate) fn halt_on_crash(boot_arguments: &mut Vec<String>) -> Result<()> {
    const HALT: &str = "on-crash=halt";
    if let Some(other) = boot_arguments.iter().find(|word| word.starts_with("on-crash=") && *word != HALT) {
        bail!(
            "with `--dump-on-crash` a crashed machine halts for its core to be written; leave away that option, or `{other}`"
        );
    }
    boot_arguments.push(HALT.into());
    Ok(())
}

/// QEMU's options for a machine that waits for a debugger.
fn paused(socket: &Path) -> [String; 5] {
    let socket = format!("socket,id=gdb,path={},server=on,wait=off", disk::for_qemu(socket));
    ["-S".into(), "-chardev".into(), socket, "-gdb".into(), "chardev:gdb".into()]
}

pub(crate) fn extra_arguments() -> Result<Vec<String>> {
    let line = env::var("UNIKERNEL_QEMU_ARGS").unwrap_or_default();
    shlex::split(&line).with_context(|| format!("UNIKERNEL_QEMU_ARGS has an open quote: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &str, is_test: bool, expected: Result<&str, &str>) {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let line = boot_arguments(&words, &["raw".into()], is_test).map(|arguments| arguments.join(" "));
        let line = line.map_err(|error| error.to_string());
        assert_eq!(line, expected.map(str::to_owned).map_err(str::to_owned));
    }

    #[test]
    fn words_become_boot_arguments() {
        check("", false, Ok("raw"));
        check("ip=10.0.2.15/24 gw=10.0.2.2", false, Ok("ip=10.0.2.15/24 gw=10.0.2.2 raw"));
        check("timers a=b", true, Ok("test=timers a=b raw"));
        check("timers", false, Err("`timers` is no boot argument; write key=value, such as `ip=10.0.2.15/24`"));
    }

    #[test]
    fn a_machine_with_a_core_halts_when_it_crashes() {
        let check = |word: &str, expected: Result<&str, &str>| {
            let mut words = vec![word.to_owned()];
            let result = halt_on_crash(&mut words).map(|()| words.join(" ")).map_err(|error| error.to_string());
            match (result, expected) {
                (Ok(words), Ok(expected)) => assert_eq!(words, expected),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                other => panic!("{other:?}"),
            }
        };
        check("a=b", Ok("a=b on-crash=halt"));
        check("on-crash=halt", Ok("on-crash=halt on-crash=halt"));
        check("on-crash=reboot", Err("leave away that option, or `on-crash=reboot`"));
        check("on-crash=exit", Err("`on-crash=exit`"));
    }
}
