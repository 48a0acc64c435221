//! One run of an instance's machine, from its start to its end.

use std::{ffi::OsString, fs, io, path::Path, time::Duration};

use anyhow::{Context, Result};

use super::{
    log::{Lines, SharedLog},
    machine::{self, Machine},
    record::Description,
    save,
    shared::{Handles, Shared},
    store::Folder,
};
use crate::{
    console::Console,
    dump,
    ending::Ending,
    image, install,
    instance::{Restart, provider::Urgency},
    port,
    qmp::Qmp,
    registry::Registration,
    runner::{STOP_MARGIN, stop_limit},
    vm,
};

/// How a run ended, and what is to come.
pub struct Outcome {
    /// As the runner's exit code.
    pub code: u8,
    /// In words.
    pub words: String,
    /// The instance's policy.
    pub restart: Restart,
}

/// The addresses that the machine has on networks that it shares, a line each.
pub const ADDRESSES: &str = "addresses";

/// What is told of a machine that runs: its process, and how its instructions are run.
pub type Running<'a> = dyn FnMut(u32, &str) -> Result<()> + 'a;

/// Starts the machine and follows it to its end.
pub fn run(
    folder: &Folder,
    shared: &Shared,
    log: &SharedLog,
    incoming: Option<&Path>,
    running: &mut Running<'_>,
) -> Outcome {
    let restart = match Description::read(folder) {
        Ok(description) => description.restart,
        Err(problem) => return failed(&problem, Restart::Never),
    };
    let mut run = || {
        let machine = Machine::of(folder)?;
        let ending = boot(folder, &machine, shared, log, incoming, running)?;
        Ok(Outcome { code: ending.code(), words: words(ending, shared.wish(), limit(&machine)), restart })
    };
    run().unwrap_or_else(|problem| failed(&problem, restart))
}

/// What a machine that cannot be started is worth: the exit code of the tool's own failures.
fn failed(problem: &anyhow::Error, restart: Restart) -> Outcome {
    Outcome { code: 125, words: format!("{problem:#} (exit code 125)"), restart }
}

/// How long a stop in order may take; without a power button there is none.
fn limit(machine: &Machine) -> Option<Duration> {
    let has_button = !machine.settings.machine.is_without_acpi();
    has_button.then(|| stop_limit(&machine.description.boot_arguments) + STOP_MARGIN)
}

/// A machine that was stopped by force says nothing itself.
fn words(ending: Ending, wish: Option<Urgency>, limit: Option<Duration>) -> String {
    let code = ending.code();
    match (ending, wish, limit) {
        (Ending::Stopped(_), Some(Urgency::InOrder), Some(limit)) => {
            format!("killed: it did not stop in {} s (exit code {code})", limit.as_secs())
        }
        (Ending::Stopped(_), Some(Urgency::InOrder), None) => {
            format!("killed: a machine without ACPI has no power button (exit code {code})")
        }
        (Ending::Stopped(_), ..) => format!("killed, as it was asked to end at once (exit code {code})"),
        _ => ending.to_string(),
    }
}

fn boot(
    folder: &Folder,
    machine: &Machine,
    shared: &Shared,
    log: &SharedLog,
    incoming: Option<&Path>,
    running: &mut Running<'_>,
) -> Result<Ending> {
    let elf_file = machine::elf(folder, &machine.description);
    // Without it, log frames are shown as they are.
    let elf = elf_file.as_deref().map(image::read).transpose()?.unwrap_or_default();
    let program = install::qemu().map_err(anyhow::Error::msg)?;
    port::settle(&machine.settings.ports)?;
    let image = elf_file.clone().unwrap_or_else(|| folder.image());
    let mut console = Console::new(&image, &elf, machine.description.workspace.as_deref(), Lines::new(log));
    // Without a note `dump` does not find this machine, which is no reason not to run it.
    let registration = elf_file.and_then(|file| Registration::named(folder.name().as_str(), &file, &elf).ok());
    let (monitor, for_qemu) = Qmp::pair()?;
    let mut network = machine.network(false)?;
    let mut arguments: Vec<OsString> = machine.arguments(&network);
    arguments.extend(registration.iter().flat_map(Registration::arguments));
    arguments.extend(for_qemu.arguments("supervisor"));
    if incoming.is_some() {
        arguments.extend(["-incoming".into(), "defer".into()]);
    }
    let (program, arguments) = network.command(&program, arguments)?;
    let _network = network.set_up()?;
    folder.write(ADDRESSES, network.addresses.join("\n").as_bytes())?;
    let hurry = "`cargo unikernel instance stop --now`";
    let bounds = vm::Bounds { timeout: machine.settings.timeout, stop: limit(machine), hurry, has_keyboard: true };
    let cores = machine.description.options()?.dump_on_crash;

    let (orders, events) = vm::orders();
    let for_others = orders.clone();
    let (mut for_qemu, mut monitor) = (Some(for_qemu), Some(monitor));
    let mut started = |qemu: vm::Started<'_>| {
        // QEMU has its own.
        for_qemu = None;
        shared.set_starting(qemu.qmp.handle()?)?;
        qemu.qmp.wait_for_start().context("QEMU does not start")?;
        if let Some(memory) = incoming {
            save::restore(qemu.qmp, memory)?;
            // It is of use once.
            let _ = fs::remove_file(memory);
        }
        if let Some(keyboard) = &qemu.keyboard {
            // A machine that reads nothing must not hold up who types.
            rustix::io::ioctl_fionbio(keyboard, true).context("cannot set up the keyboard")?;
        }
        running(qemu.pid, &machine.accel.to_string())?;
        shared.set_machine(Handles { orders: for_others.clone(), keyboard: qemu.keyboard, monitor: monitor.take() });
        Ok(())
    };
    let mut listen = |bytes: &[u8]| -> io::Result<Option<u8>> {
        shared.show(bytes);
        console.write(bytes)?;
        Ok(console.halted().filter(|_| cores.is_some()))
    };
    let mut halted = |qmp: &mut Qmp| {
        cores.iter().for_each(|cores| dump::after_crash(qmp, cores, &image, &elf));
    };
    let ending = vm::run(&program, &arguments, bounds, (orders, events), &mut started, &mut listen, &mut halted)?;
    console.finish().context("cannot write the console's last line")?;
    if ending.is_crash() {
        console.repeat_report().context("cannot write the crash report")?;
    }
    Ok(ending)
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::consts::{SIGQUIT, SIGTERM};

    #[test]
    fn a_stop_by_force_says_why() {
        let limit = Some(Duration::from_secs(15));
        let check = |ending, wish, limit, expected: &str| assert_eq!(words(ending, wish, limit), expected);
        let stopped = Ending::Stopped(SIGTERM);
        check(stopped, Some(Urgency::InOrder), limit, "killed: it did not stop in 15 s (exit code 143)");
        let without = "killed: a machine without ACPI has no power button (exit code 143)";
        check(stopped, Some(Urgency::InOrder), None, without);
        let at_once = "killed, as it was asked to end at once (exit code 131)";
        check(Ending::Stopped(SIGQUIT), Some(Urgency::Now), limit, at_once);
        check(Ending::Guest(0), Some(Urgency::InOrder), limit, "the app ended (exit code 0)");
        check(Ending::Guest(101), None, limit, "the app panicked (exit code 101)");
    }
}
