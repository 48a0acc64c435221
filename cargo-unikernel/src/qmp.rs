//! QEMU's monitor, of which we need a few commands (QMP; QEMU, docs/interop/qmp-spec): JSON objects, one a line.

use std::{
    ffi::OsString,
    fmt,
    io::{BufRead, BufReader, ErrorKind, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::io::{FdFlags, fcntl_setfd};
use serde_json::{Value, json};

/// How long QEMU may take to answer a small command.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it may take to start.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a monitor. It is opened with the first command: before, QEMU sends nothing but its greeting.
pub struct Qmp {
    stream: BufReader<UnixStream>,
    is_open: bool,
}

/// QEMU's end of a connection, to be dropped when QEMU is started.
pub struct ForQemu(OwnedFd);

impl Qmp {
    /// A connection that a QEMU inherits which is started with the [arguments](ForQemu::arguments) of its end.
    pub fn pair() -> Result<(Qmp, ForQemu)> {
        let (ours, theirs) = UnixStream::pair().context("cannot make a pair of sockets")?;
        // Inherited by processes started from now on, until it is dropped.
        fcntl_setfd(&theirs, FdFlags::empty()).context("cannot pass a socket on")?;
        Ok((Qmp::new(ours)?, ForQemu(theirs.into())))
    }

    /// Connects to the monitor of a VM that runs.
    pub fn connect(path: &Path) -> Result<Qmp> {
        let stream = UnixStream::connect(path).with_context(|| format!("nobody answers at {}", path.display()))?;
        Qmp::new(stream)
    }

    /// A connection that exists.
    pub(crate) fn new(stream: UnixStream) -> Result<Qmp> {
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Qmp { stream: BufReader::new(stream), is_open: false })
    }

    /// Another handle of the connection: when it is shut down, whoever waits for an answer hears an error.
    pub fn handle(&self) -> Result<UnixStream> {
        self.stream.get_ref().try_clone().context("cannot have a second handle of a socket")
    }

    /// Waits until QEMU is set up.
    pub fn wait_for_start(&mut self) -> Result<()> {
        self.open(START_PATIENCE)
    }

    fn open(&mut self, patience: Duration) -> Result<()> {
        if !self.is_open {
            self.call("qmp_capabilities", json!({}), Some(patience))?;
            self.is_open = true;
        }
        Ok(())
    }

    /// Asks for the machine to be switched off by its power button.
    pub fn press_power_button(&mut self) -> Result<()> {
        self.execute("system_powerdown", json!({}), Some(PATIENCE)).map(drop)
    }

    /// Writes the memory and the registers of the machine into `file`, as an ELF core with virtual addresses. The machine
    /// stands still meanwhile.
    pub fn dump(&mut self, file: &Path) -> Result<()> {
        let protocol = format!("file:{}", file.display());
        self.execute("dump-guest-memory", json!({ "paging": true, "protocol": protocol }), None).map(drop)
    }

    /// Ends QEMU.
    pub fn quit(&mut self) -> Result<()> {
        self.execute("quit", json!({}), Some(PATIENCE)).map(drop)
    }

    /// Executes any command; how long it may take is `patience`. The result is what QEMU returns.
    ///
    /// # Errors
    ///
    /// QEMU refuses it, does not answer in time, or has ended.
    pub fn execute(&mut self, command: &str, arguments: Value, patience: Option<Duration>) -> Result<Value> {
        self.open(PATIENCE)?;
        self.call(command, arguments, patience)
    }

    /// Waits for an event of this name. Returns after `PATIENCE` in any case: what it was to tell may have been told before.
    ///
    /// # Errors
    ///
    /// QEMU has ended.
    pub fn wait_for_event(&mut self, name: &str) -> Result<()> {
        self.stream.get_mut().set_read_timeout(Some(PATIENCE))?;
        let mut line = Vec::new();
        loop {
            match self.stream.read_until(b'\n', &mut line) {
                Ok(0) => bail!("QEMU ended before it said `{name}`"),
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) && line.is_empty() =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error).context("QEMU's monitor cannot be read"),
            }
            let message: Value = serde_json::from_slice(&line).context("QEMU's monitor says what is no JSON")?;
            if message["event"] == name {
                return Ok(());
            }
            line.clear();
        }
    }

    fn call(&mut self, command: &str, arguments: Value, patience: Option<Duration>) -> Result<Value> {
        let stream = self.stream.get_mut();
        stream.set_read_timeout(patience)?;
        writeln!(stream, "{}", json!({ "execute": command, "arguments": arguments })).context("QEMU has ended")?;
        loop {
            let mut line = String::new();
            let len = self.stream.read_line(&mut line).with_context(|| format!("QEMU does not answer `{command}`"))?;
            if len == 0 {
                bail!("QEMU ended before it answered `{command}`");
            }
            let mut message: Value = serde_json::from_str(&line).context("QEMU's monitor says what is no JSON")?;
            if let Some(error) = message.get("error") {
                bail!("QEMU refuses `{command}`: {}", error["desc"].as_str().unwrap_or("for no reason"));
            }
            // Everything else is the greeting, or an event.
            if let Some(result) = message.get_mut("return") {
                return Ok(result.take());
            }
        }
    }
}

impl ForQemu {
    /// What makes QEMU use it, under a name of its own.
    pub fn arguments(&self, id: &str) -> Vec<OsString> {
        monitor(id, &format!("fd={}", self.0.as_raw_fd()))
    }
}

/// Arguments for a monitor at this socket.
pub fn monitor(id: &str, socket: &dyn fmt::Display) -> Vec<OsString> {
    ["-chardev".into(), format!("socket,id={id},{socket}"), "-mon".into(), format!("chardev={id},mode=control")]
        .map(OsString::from)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// A monitor that says these lines, each after a command has come.
    fn check(lines: &'static [&'static str], expected: &str) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let monitor = thread::spawn(move || {
            let mut commands = BufReader::new(theirs.try_clone().unwrap()).lines();
            for line in lines {
                commands.next();
                writeln!(&theirs, "{line}").unwrap();
            }
            // Gone only after the next command, if one comes: else that could not be sent.
            commands.next();
        });
        let result = Qmp::new(ours).unwrap().press_power_button();
        monitor.join().unwrap();
        assert_eq!(result.map_or_else(|error| error.to_string(), |()| "done".into()), expected);
    }

    #[test]
    fn answers() {
        const OPEN: &str = "{\"QMP\": {}}\r\n{\"return\": {}}";
        check(&[OPEN, "{\"event\": \"POWERDOWN\"}\r\n{\"return\": {}}"], "done");
        check(&[OPEN, "{\"error\": {\"desc\": \"not now\"}}"], "QEMU refuses `system_powerdown`: not now");
        check(&[OPEN], "QEMU ended before it answered `system_powerdown`");
        check(&["hello"], "QEMU's monitor says what is no JSON");
    }
}
