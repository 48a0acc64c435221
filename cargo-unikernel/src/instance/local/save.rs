//! The memory of a machine, to a file and back, by QEMU's migration (QEMU, docs/devel/migration).

use std::{
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::copy;
use crate::{qemu, qmp::Qmp};

/// For commands that QEMU answers when it has looked at them.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));
/// How long QEMU may take to notice that it is done, and how often it is asked.
const GO_ON_PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);
/// A limit is for networks; a file takes what it takes.
const BYTES_PER_SECOND: u64 = 100 << 30;

/// Writes the machine's memory and copies its disks, while it stands still; then it goes on, whatever came of it.
pub fn save(qmp: &mut Qmp, memory: &Path, disks: &[(PathBuf, PathBuf)]) -> Result<()> {
    qmp.execute("stop", json!({}), PATIENCE)?;
    let saved = save_standing(qmp, memory, disks);
    let goes_on = go_on(qmp).context("the machine stands still and does not go on");
    saved.and(goes_on)
}

/// QEMU's migration is over a moment before QEMU lets the machine go on, which nothing announces.
fn go_on(qmp: &mut Qmp) -> Result<()> {
    let end = Instant::now() + GO_ON_PATIENCE;
    loop {
        match qmp.execute("cont", json!({}), PATIENCE) {
            Err(error) if error.to_string().contains("not finalized") && Instant::now() < end => thread::sleep(PAUSE),
            answer => return answer.map(drop),
        }
    }
}

fn save_standing(qmp: &mut Qmp, memory: &Path, disks: &[(PathBuf, PathBuf)]) -> Result<()> {
    // Memory holds secrets.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(memory);
    made.with_context(|| format!("cannot make {}", memory.display()))?;
    prepare(qmp)?;
    qmp.execute("migrate-set-parameters", json!({ "max-bandwidth": BYTES_PER_SECOND }), PATIENCE)?;
    qmp.execute("migrate", json!({ "uri": format!("exec:cat > {}", quoted(memory)) }), PATIENCE)?;
    wait(qmp).context("the memory cannot be written; is the disk full?")?;
    // QEMU has written what it had of them, and leaves them alone until the machine goes on.
    for (from, to) in disks {
        copy::file(from, to).with_context(|| format!("cannot copy the disk {}", from.display()))?;
    }
    Ok(())
}

/// Reads the memory of a machine that was started to wait for it, and lets it go on there.
pub fn restore(qmp: &mut Qmp, memory: &Path) -> Result<()> {
    prepare(qmp)?;
    qmp.execute("migrate-incoming", json!({ "uri": format!("exec:cat {}", quoted(memory)) }), PATIENCE)?;
    wait(qmp).context("the memory of the copy cannot be read")?;
    qmp.execute("cont", json!({}), PATIENCE).map(drop)
}

fn prepare(qmp: &mut Qmp) -> Result<()> {
    let events = json!([{ "capability": "events", "state": true }]);
    qmp.execute("migrate-set-capabilities", json!({ "capabilities": events }), PATIENCE).map(drop)
}

fn quoted(file: &Path) -> String {
    qemu::quote(&file.to_string_lossy())
}

/// Waits until QEMU is done with it.
fn wait(qmp: &mut Qmp) -> Result<()> {
    loop {
        let answer = qmp.execute("query-migrate", json!({}), PATIENCE)?;
        match answer["status"].as_str() {
            Some("completed") => return Ok(()),
            Some("failed" | "cancelled") => bail!("{}", reason(&answer)),
            _ => qmp.wait_for_event("MIGRATION")?,
        }
    }
}

fn reason(answer: &Value) -> &str {
    answer["error-desc"].as_str().unwrap_or("QEMU does not say why")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{BufRead, BufReader, Write},
        os::unix::net::UnixStream,
    };

    /// A monitor that is asked about a migration so often, and answers with these states; each is announced by an event.
    fn check(states: &'static [&'static str], expected: Result<(), &str>, resumed: bool) {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let monitor = thread::spawn(move || {
            let mut states = states.iter();
            let mut commands = Vec::new();
            for line in BufReader::new(&theirs).lines().map_while(Result::ok) {
                let command: Value = serde_json::from_str(&line).unwrap();
                let command = command["execute"].as_str().unwrap().to_owned();
                let answer = match command.as_str() {
                    "query-migrate" => json!({ "status": states.next().unwrap(), "error-desc": "no room" }),
                    _ => json!({}),
                };
                let event = json!({ "event": "MIGRATION", "data": {} });
                // In one piece: after the last answer nobody reads on.
                let text = format!("{}\r\n{event}\r\n", json!({ "return": answer }));
                (&theirs).write_all(text.as_bytes()).unwrap();
                commands.push(command);
            }
            commands
        });
        let mut qmp = Qmp::new(ours).unwrap();
        let (from, to) = (folder.path().join("disk"), folder.path().join("copy"));
        std::fs::write(&from, "content").unwrap();
        let saved = save(&mut qmp, &folder.path().join("memory"), &[(from, to.clone())]);
        drop(qmp);
        let commands = monitor.join().unwrap();
        assert_eq!(commands.last().map(String::as_str), Some("cont"));
        assert_eq!(commands.iter().filter(|command| *command == "query-migrate").count(), states.len());
        assert_eq!(to.exists(), resumed, "{states:?}");
        match (saved, expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(part)) => assert!(format!("{error:#}").contains(part), "{error:#}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_machine_goes_on_whatever_comes_of_it() {
        check(&["completed"], Ok(()), true);
        check(&["setup", "active", "completed"], Ok(()), true);
        check(&["active", "failed"], Err("is the disk full?: no room"), false);
    }
}
