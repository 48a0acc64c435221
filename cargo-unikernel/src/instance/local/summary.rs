//! What a command tells of an instance.

use std::{fs, path::PathBuf};

use anyhow::Result;

use super::{
    record::{Description, Status},
    run::ADDRESSES,
    store::Folder,
};
use crate::instance::{
    Name, Restart,
    provider::{State, Summary},
};

/// All that is known of an instance. One whose files cannot be read is damaged, and the others are not.
pub fn of(folder: &Folder) -> Summary {
    whole_summary(folder).unwrap_or_else(|problem| damaged(folder.name().clone(), folder, &problem))
}

fn whole_summary(folder: &Folder) -> Result<Summary> {
    folder.check_private()?;
    let description = Description::read(folder)?;
    let settings = description.settings()?;
    // In this order: who has just gone has written its last word before.
    let is_supervised = folder.is_supervised();
    let status = Status::read(folder)?;
    let state = match status.state(is_supervised) {
        // A command is about to make its supervisor.
        State::Dead if folder.is_supervised() || folder.is_being_changed() => State::Starting,
        state => state,
    };
    let addresses = fs::read_to_string(folder.file(ADDRESSES)).unwrap_or_default();
    let runs = matches!(state, State::Running | State::Stopping);
    Ok(Summary {
        name: folder.name().clone(),
        provider: "local",
        state,
        problem: None,
        up_seconds: runs.then(|| status.up().as_secs()),
        image: description.source,
        ports: settings.ports,
        addresses: addresses.lines().filter(|_| runs).map(str::to_owned).collect(),
        restarts: status.restarts,
        ended: status.ended,
        restart: description.restart,
        memory: Some(settings.memory.to_string()),
        machine: settings.machine.to_string(),
        pid: status.pid.filter(|_| runs),
        folder: Some(folder.path().to_owned()),
        id: None,
    })
}

fn damaged(name: Name, folder: &Folder, problem: &anyhow::Error) -> Summary {
    Summary {
        name,
        provider: "local",
        state: State::Damaged,
        problem: Some(format!("{problem:#}")),
        up_seconds: None,
        image: PathBuf::new(),
        ports: Vec::new(),
        addresses: Vec::new(),
        restarts: 0,
        ended: None,
        restart: Restart::Never,
        memory: Some(String::new()),
        machine: String::new(),
        pid: None,
        folder: Some(folder.path().to_owned()),
        id: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{instance::local::record::Phase, settings::Settings};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_damaged_is_told_and_what_is_not_is_shown() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("web");
        fs::create_dir(&path).unwrap();
        let folder = Folder::at(path.clone()).unwrap();
        let problem = || of(&folder).problem.unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(problem().contains("chmod 700"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(problem().contains("instance.json"));
        let settings = Settings::merge(&Default::default(), Default::default(), false).unwrap();
        let mut description = Description::new("/app.elf".into(), Restart::Always);
        description.set_machine(&settings, None, None);
        description.write(&folder).unwrap();
        assert!(problem().contains("state.json"));
        Status { phase: Phase::Stopped, ..Status::never_started() }.write(&folder).unwrap();
        let summary = of(&folder);
        assert_eq!((summary.problem, summary.state, summary.restart), (None, State::Stopped, Restart::Always));
        fs::write(folder.file("state.json"), "{\"version\": 1").unwrap();
        assert_eq!((of(&folder).state, problem().contains("cannot be understood")), (State::Damaged, true));
    }
}
