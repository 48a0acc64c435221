//! QEMU's monitor (docs/interop/qmp-spec): what a test does to a machine from outside.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::Instant,
};

use crate::{PATIENCE, client::PAUSE};

/// A connection to the monitor.
pub struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    /// The arguments of QEMU for a monitor at this place.
    pub fn arguments(socket: &Path) -> String {
        format!("-qmp unix:{},server=on,wait=off", socket.display())
    }

    /// Connects to the monitor of a machine that runs.
    pub fn connect(socket: &Path) -> Qmp {
        let stream = UnixStream::connect(socket).expect("the machine has a monitor");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout is set");
        let mut qmp = Qmp { stream: BufReader::new(stream) };
        qmp.line();
        qmp.execute(r#"{"execute": "qmp_capabilities"}"#);
        qmp
    }

    /// Executes a command, which must succeed, and returns the answer.
    pub fn execute(&mut self, command: &str) -> String {
        writeln!(self.stream.get_mut(), "{command}").expect("the monitor takes a command");
        loop {
            let line = self.line();
            assert!(!line.contains(r#""error""#), "{command}: {line}");
            // What else comes are events.
            if line.contains(r#""return""#) {
                return line;
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("the monitor answers");
        assert!(!line.is_empty(), "the monitor is gone");
        line
    }

    /// Writes all that the machine is to a file, and stops it; start another with [`Qmp::incoming`].
    pub fn save(&mut self, file: &Path) {
        let uri = format!("exec:cat > {}", file.display());
        self.execute(&format!(r#"{{"execute": "migrate", "arguments": {{"uri": "{uri}"}}}}"#));
        let deadline = Instant::now() + PATIENCE;
        while !self.execute(r#"{"execute": "query-migrate"}"#).contains(r#""status": "completed""#) {
            assert!(Instant::now() < deadline, "the machine is not saved");
            thread::sleep(PAUSE);
        }
    }

    /// The arguments of QEMU for a machine that goes on where a saved one stopped.
    pub fn incoming(file: &Path) -> String {
        format!("-incoming 'exec:cat {}'", file.display())
    }
}
