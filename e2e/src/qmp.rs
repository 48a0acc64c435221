//! QEMU's monitor: what a test does to a machine from outside.

use std::{path::Path, thread, time::Instant};

use serde_json::{Value, json};

use crate::{PATIENCE, client::PAUSE};

/// A connection to the monitor.
pub struct Qmp(cargo_unikernel::qmp::Qmp);

impl Qmp {
    /// The arguments of QEMU for a monitor at this place.
    pub fn arguments(socket: &Path) -> String {
        format!("-qmp unix:{},server=on,wait=off", socket.display())
    }

    /// Connects to the monitor of a machine that runs.
    pub fn connect(socket: &Path) -> Qmp {
        Qmp(cargo_unikernel::qmp::Qmp::connect(socket).expect("the machine has a monitor"))
    }

    /// Executes a command, which must succeed, and returns the answer.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Value {
        self.0.execute(command, arguments, Some(PATIENCE)).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Writes all that the machine is to a file, and stops it; start another with [`Qmp::incoming`].
    pub fn save(&mut self, file: &Path) {
        self.execute("migrate", json!({ "uri": format!("exec:cat > {}", file.display()) }));
        let deadline = Instant::now() + PATIENCE;
        while self.execute("query-migrate", json!({}))["status"] != "completed" {
            assert!(Instant::now() < deadline, "the machine is not saved");
            thread::sleep(PAUSE);
        }
    }

    /// The arguments of QEMU for a machine that goes on where a saved one stopped.
    pub fn incoming(file: &Path) -> String {
        format!("-incoming 'exec:cat {}'", file.display())
    }
}
