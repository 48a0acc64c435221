//! A new user: an empty home, the command and Rust on the PATH, and the crates that this workspace has downloaded.

use e2e::image;
use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// Dropping it removes the home.
pub struct User {
    home: TempDir,
}

impl User {
    /// One who has just come.
    pub fn new() -> User {
        let user = User { home: tempfile::tempdir().unwrap() };
        fs::create_dir(user.folder()).unwrap();
        user
    }

    /// The home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where the user works.
    pub fn folder(&self) -> PathBuf {
        self.home.path().join("work")
    }

    /// A command in one of the user's folders.
    pub fn command(&self, folder: &Path, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        let is_of_cargo =
            |name: &str| name.starts_with("CARGO") || name.starts_with("UNIKERNEL_") || name.starts_with("XDG_");
        let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        for name in names.filter(|name| is_of_cargo(name) || name == "DEFMT_LOG") {
            command.env_remove(name);
        }
        let tool = image::tool().parent().expect("it is in a folder").to_owned();
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([tool].into_iter().chain(env::split_paths(&path))).unwrap();
        for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            command.env(name, env::var_os(name).unwrap_or_else(|| real_home().join(folder).into()));
        }
        command.env("HOME", self.home.path()).env("PATH", path).env("CARGO_NET_OFFLINE", "true");
        // All apps share what they are made of, and it is kept for the next time.
        command.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("apps"));
        command.current_dir(folder).args(words);
        command
    }

    /// All that a command says, which must succeed.
    pub fn run(&self, folder: &Path, program: &str, words: &[&str]) -> String {
        let output = self.command(folder, program, words).output().expect("it starts");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{program} {words:?}: {}\n{text}", output.status);
        text
    }
}

fn real_home() -> PathBuf {
    env::var_os("HOME").map_or_else(|| "/".into(), |home: OsString| PathBuf::from(home))
}
