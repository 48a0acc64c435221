//! The command line: which subcommands there are, and how a failure is shown.

use std::{env, ffi::OsString, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};

use crate::{
    babysit, build, completions, console, debug, doctor, dump, fs, inspect, instance, kv, net, new, runner, size, watch,
};

/// Builds, boots and examines unikernels.
#[derive(Parser)]
#[command(name = "cargo-unikernel", bin_name = "cargo unikernel", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes a new app that builds, runs and tests by itself.
    New(new::Arguments),
    /// Builds an app for the machine and boots it in QEMU.
    Run(Box<build::Run>),
    /// Builds and boots an app again whenever its source changes.
    Watch(Box<watch::Arguments>),
    /// Builds an app for the machine and says where the image is.
    Build(build::Build),
    /// Says which crate takes how much of an image.
    Size(size::Arguments),
    /// Runs the tests of a package inside a virtual machine.
    Test(build::Test),
    /// Boots a finished image in QEMU and relays its console; cargo calls this as the target's runner.
    Runner(Box<runner::Arguments>),
    /// Makes and reads images.
    #[command(subcommand)]
    Image(fs::ImageCommand),
    /// Runs apps in the background: makes instances, lists, stops, starts, copies and removes them.
    Instance(instance::Instance),
    /// Makes networks for machines, once, as root; shows and removes them.
    #[command(subcommand)]
    Net(net::command::NetCommand),
    /// Looks at the key-value store on an image.
    #[command(subcommand)]
    Kv(kv::KvCommand),
    /// Builds an app and runs it in gdb, or opens a core in gdb.
    Debug(Box<debug::Arguments>),
    /// Writes the memory of a VM that runs into a core file.
    Dump(dump::Arguments),
    /// Shows the tasks of a machine that runs.
    Ps(inspect::Ps),
    /// Shows the listeners, sockets and connections of a machine that runs.
    Netstat(inspect::Netstat),
    /// Shows what uses the processor and the heap of a machine that runs.
    Top(inspect::Top),
    /// Captures the frames of a machine that runs, for Wireshark.
    Tcpdump(inspect::Tcpdump),
    /// Shows or changes which log lines a machine that runs writes.
    LogLevel(inspect::LogLevel),
    /// Asks a machine that runs for an answer.
    Ping(inspect::Ping),
    /// Decodes a saved console log.
    Symbolize(console::Arguments),
    /// Checks that everything an app needs is installed, and names the fix for what is not.
    Doctor(doctor::Arguments),
    /// Prints what a shell needs to complete this command.
    Completions(completions::Arguments),
    #[command(hide = true)]
    Babysit(babysit::Arguments),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse_from(without_cargo_word(env::args_os().collect()));
    let result = match cli.command {
        Command::New(arguments) => new::exec(arguments),
        Command::Run(run) => run.exec(),
        Command::Watch(arguments) => watch::exec(*arguments),
        Command::Build(build) => build.exec(),
        Command::Size(arguments) => size::exec(arguments),
        Command::Test(test) => test.exec(),
        Command::Runner(arguments) => runner::run(*arguments),
        Command::Image(image) => image.exec(),
        Command::Instance(instance) => instance.exec(),
        Command::Net(net) => net.exec(),
        Command::Kv(kv) => kv.exec(),
        Command::Debug(arguments) => debug::exec(*arguments),
        Command::Dump(arguments) => dump::exec(arguments),
        Command::Ps(ps) => ps.exec(),
        Command::Netstat(netstat) => netstat.exec(),
        Command::Top(top) => top.exec(),
        Command::Tcpdump(tcpdump) => tcpdump.exec(),
        Command::LogLevel(level) => level.exec(),
        Command::Ping(ping) => ping.exec(),
        Command::Symbolize(arguments) => console::symbolize(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        Command::Completions(arguments) => completions::exec(arguments, Cli::command()),
        Command::Babysit(arguments) => babysit::exec(arguments),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(FAILURE)
        }
    }
}

/// What the process ends with when the tool itself could not do what was asked. Distinct from the
/// codes of a VM, see [`crate::ending`].
const FAILURE: u8 = 125;

/// Cargo calls an installed subcommand as `cargo-unikernel unikernel …`; a runner is called without that word.
fn without_cargo_word(mut arguments: Vec<OsString>) -> Vec<OsString> {
    if arguments.get(1).is_some_and(|word| word == "unikernel") {
        arguments.remove(1);
    }
    arguments
}

#[cfg(test)]
mod documented;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_that_would_be_of_no_effect_are_refused() {
        let check = |words: &str, is_good: bool| {
            let line = format!("cargo-unikernel {words}");
            assert_eq!(Cli::try_parse_from(line.split(' ')).is_ok(), is_good, "{words}");
        };
        check("debug --core a --image b --command c --accel tcg -- -batch", true);
        check("debug --image b --memory 64M --break main", true);
        check("debug --core a --package b --release", true);
        for option in ["--boot c=d", "--break main", "--disk d", "--volume d=e", "--memory 64M", "--port 1:2"] {
            check(&format!("debug --core a {option}"), false);
        }
        for option in ["--package c", "--release", "--features d"] {
            check(&format!("debug --image b {option}"), false);
        }
        check("tcpdump a:1 --proto udp", true);
        check("tcpdump a:1 --protocol ftp", false);
    }

    #[test]
    fn both_ways_of_calling_are_one() {
        for line in ["cargo-unikernel unikernel doctor", "cargo-unikernel doctor"] {
            let words = without_cargo_word(line.split(' ').map(OsString::from).collect());
            assert_eq!(words, ["cargo-unikernel", "doctor"]);
        }
    }
}
