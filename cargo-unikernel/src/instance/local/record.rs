//! What is written down about an instance, as JSON: how it was created, and what it does.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::store::Folder;
use crate::{
    accel::Accel,
    drives::DriveOptions,
    environment::EnvOptions,
    firmware::{Bios, Format},
    instance::{
        Restart,
        provider::{Ended, State},
    },
    net::{Kind, Net},
    settings::{Options, PackageSettings, Settings},
};

/// Of both files. Whatever is added or changed makes another one.
const VERSION: u64 = 1;

/// How an instance was created: all that a start needs.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Of this file's format.
    pub version: u64,
    /// Where its image came from.
    pub source: PathBuf,
    /// Its image is a disk.
    pub disk: Option<Disk>,
    /// The folder that source paths are shown relative to.
    pub workspace: Option<PathBuf>,
    /// The machine, as options of the command line.
    pub options: Vec<String>,
    /// The archive of its boot modules, a file of its folder.
    pub modules: Option<String>,
    /// There is a file with the app's environment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_environment: bool,
    /// `key=value` words.
    pub boot_arguments: Vec<String>,
    /// More arguments for QEMU.
    pub extra: Vec<String>,
    /// What comes after its end.
    pub restart: Restart,
    /// When, in milliseconds since 1970.
    pub created_ms: u64,
}

/// How a disk is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// How its content lies in its file.
    pub format: Format,
    /// What starts it.
    pub bios: Bios,
    /// There is a copy of the ELF that is on it.
    pub has_elf: bool,
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

impl Description {
    const FILE: &str = "instance.json";

    /// With the version of today, at this moment.
    pub fn new(source: PathBuf, restart: Restart) -> Description {
        let (options, boot_arguments, extra) = (Vec::new(), Vec::new(), Vec::new());
        Description {
            version: VERSION,
            source,
            disk: None,
            workspace: None,
            options,
            modules: None,
            has_environment: false,
            boot_arguments,
            extra,
            restart,
            created_ms: now_ms(),
        }
    }

    /// Notes a machine, without its boot modules and the environment, which has a file of its own.
    pub fn set_machine(&mut self, settings: &Settings, accel: Option<Accel>, cores: Option<PathBuf>) {
        let settings = settings.clone();
        let options = Options {
            ports: settings.ports,
            memory: Some(settings.memory),
            machine: Some(settings.machine),
            accel,
            nets: if settings.nets.is_empty() { vec![Net::of(Kind::None)] } else { settings.nets },
            modules: Vec::new(),
            env: EnvOptions::default(),
            drives: DriveOptions(settings.drives),
            pcap: settings.pcap,
            dump_on_crash: cores,
            timeout: settings.timeout,
        };
        self.options = options.words();
    }

    /// The options of its machine.
    pub fn options(&self) -> Result<Options> {
        let words = ["instance"].into_iter().chain(self.options.iter().map(String::as_str));
        let line = Line::try_parse_from(words).context("its options are none of this version's")?;
        Ok(line.options)
    }

    /// Its machine.
    pub fn settings(&self) -> Result<Settings> {
        Settings::merge(&PackageSettings::default(), self.options()?, false).map_err(anyhow::Error::msg)
    }

    /// Reads that of an instance.
    pub fn read(folder: &Folder) -> Result<Description> {
        read(folder, Self::FILE)
    }

    /// Writes it.
    pub fn write(&self, folder: &Folder) -> Result<()> {
        folder.write(Self::FILE, &serde_json::to_vec_pretty(self)?)
    }
}

/// What an instance does, as its supervisor last wrote it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// Of this file's format.
    pub version: u64,
    /// What it does.
    pub phase: Phase,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// QEMU's process.
    pub pid: Option<u32>,
    /// How its instructions are run.
    pub accel: Option<String>,
    /// How often it was started again by itself.
    pub restarts: u32,
    /// How it last ended.
    pub ended: Option<Ended>,
}

/// What a supervisor is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// To start the machine.
    Starting,
    /// To watch over it.
    Running,
    /// To wait before it starts it again.
    Restarting,
    /// To stop it.
    Stopping,
    /// Nothing any more: it was stopped.
    Stopped,
    /// Nothing any more: the machine ended by itself.
    Ended,
}

impl Phase {
    /// Nothing comes after it before somebody starts the instance.
    pub fn is_final(self) -> bool {
        matches!(self, Phase::Stopped | Phase::Ended)
    }
}

impl Status {
    const FILE: &str = "state.json";

    /// Of one that was never started.
    pub fn never_started() -> Status {
        let (pid, accel, ended) = (None, None, None);
        Status { version: VERSION, phase: Phase::Starting, since_ms: now_ms(), pid, accel, restarts: 0, ended }
    }

    /// Reads that of an instance.
    pub fn read(folder: &Folder) -> Result<Status> {
        read(folder, Self::FILE)
    }

    /// Writes it.
    pub fn write(&self, folder: &Folder) -> Result<()> {
        folder.write(Self::FILE, &serde_json::to_vec_pretty(self)?)
    }

    /// What that means, where a supervisor lives or does not.
    pub fn state(&self, is_supervised: bool) -> State {
        match (self.phase, is_supervised) {
            (Phase::Stopped, _) => State::Stopped,
            (Phase::Ended, _) => State::Ended,
            (_, false) => State::Dead,
            (Phase::Starting, true) => State::Starting,
            (Phase::Running, true) => State::Running,
            (Phase::Restarting, true) => State::Restarting,
            (Phase::Stopping, true) => State::Stopping,
        }
    }

    /// For how long the machine has run.
    pub fn up(&self) -> Duration {
        Duration::from_millis(now_ms().saturating_sub(self.since_ms))
    }
}

/// The status of an instance as its supervisor keeps it: every change is written down.
pub struct Ledger {
    folder: Folder,
    status: Mutex<Status>,
}

impl Ledger {
    /// For a supervisor that begins; how the machine ended last is still known.
    pub fn begin(folder: &Folder) -> Result<Ledger> {
        let ended = Status::read(folder).ok().and_then(|status| status.ended);
        let ledger = Ledger { folder: folder.clone(), status: Mutex::new(Status { ended, ..Status::never_started() }) };
        ledger.change(|_| ())?;
        Ok(ledger)
    }

    /// Changes it.
    pub fn change(&self, work: impl FnOnce(&mut Status)) -> Result<()> {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut status);
        // Under the lock, so that the file ends with the last change.
        status.write(&self.folder)
    }

    /// The machine was asked to stop; one that does not run is about to, or has ended.
    pub fn stopping(&self) -> Result<()> {
        self.change(|status| {
            if status.phase == Phase::Running {
                status.phase = Phase::Stopping;
            }
        })
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    // A clock before 1970 is not worth a message here.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// The version is looked at first: a newer one may have fields that this one does not know.
fn read<T: DeserializeOwned>(folder: &Folder, name: &str) -> Result<T> {
    let path = folder.file(name);
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&bytes).with_context(|| format!("{} cannot be understood", path.display()))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let value: Value = serde_json::from_slice(bytes)?;
    match value["version"].as_u64() {
        Some(VERSION) => Ok(serde_json::from_value(value)?),
        Some(version) => {
            ensure!(version > VERSION, "it is of version {version}, which there never was");
            bail!("it is of version {version}; use the `cargo unikernel` that made it, or a newer one")
        }
        None => bail!("it has no version"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Description {
        let words = ["line", "--memory=32M", "--port=8080:80", "--volume=state=/s.img", "--disk=/d.img,ro"];
        let settings = Settings::merge(&PackageSettings::default(), Line::parse_from(words).options, false).unwrap();
        let mut description = Description::new("/app.elf".into(), Restart::OnFailure);
        description.set_machine(&settings, Some(Accel::Tcg), None);
        description
    }

    #[test]
    fn a_description_gives_its_machine_again() {
        let description = description();
        let settings = description.settings().unwrap();
        assert_eq!((settings.memory.to_string(), settings.ports[0].host), ("32M".into(), 8080));
        assert_eq!(DriveOptions(settings.drives).words().count(), 2);
        assert_eq!(description.options().unwrap().accel, Some(Accel::Tcg));
        let bytes = serde_json::to_vec(&description).unwrap();
        assert_eq!(parse::<Description>(&bytes).unwrap(), description);
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let check = |text: &str, expected: &str| {
            let error = parse::<Status>(text.as_bytes()).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{text}: {error:#}");
        };
        let good = serde_json::to_string(&Status::never_started()).unwrap();
        parse::<Status>(good.as_bytes()).unwrap();
        check("", "EOF");
        check("{}", "it has no version");
        check(&good.replace("\"version\":1", "\"version\":0"), "which there never was");
        check(&good.replace("\"version\":1", "\"version\":2,\"more\":3"), "or a newer one");
        check(&good.replace("\"pid\"", "\"pit\""), "unknown field `pit`");
        check(&good.replace("starting", "sleeping"), "unknown variant `sleeping`");
    }

    #[test]
    fn a_ledger_is_written_with_each_change() {
        let temporary = tempfile::tempdir().unwrap();
        fs::create_dir(temporary.path().join("web")).unwrap();
        let folder = Folder::at(temporary.path().join("web")).unwrap();
        let ended = Ended { code: 7, words: "so".into(), at_ms: 1 };
        Status { ended: Some(ended.clone()), phase: Phase::Stopped, ..Status::never_started() }.write(&folder).unwrap();
        let ledger = Ledger::begin(&folder).unwrap();
        let now = || Status::read(&folder).unwrap();
        assert_eq!((now().phase, now().ended), (Phase::Starting, Some(ended)));
        ledger.stopping().unwrap();
        assert_eq!(now().phase, Phase::Starting);
        ledger.change(|status| status.phase = Phase::Running).unwrap();
        ledger.stopping().unwrap();
        assert_eq!(now().phase, Phase::Stopping);
        ledger.change(|status| status.phase = Phase::Stopped).unwrap();
        ledger.stopping().unwrap();
        assert_eq!(now().phase, Phase::Stopped);
    }

    #[test]
    fn who_has_no_supervisor_is_dead() {
        let of = |phase| Status { phase, ..Status::never_started() };
        let check = |phase, alive, gone| {
            assert_eq!((of(phase).state(true), of(phase).state(false)), (alive, gone), "{phase:?}");
        };
        check(Phase::Starting, State::Starting, State::Dead);
        check(Phase::Running, State::Running, State::Dead);
        check(Phase::Restarting, State::Restarting, State::Dead);
        check(Phase::Stopping, State::Stopping, State::Dead);
        check(Phase::Stopped, State::Stopped, State::Stopped);
        check(Phase::Ended, State::Ended, State::Ended);
    }
}
