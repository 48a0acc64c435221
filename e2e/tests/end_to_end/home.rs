//! A home with instances of its own. Dropping it ends them.

use e2e::{PATIENCE, client, image};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::Instant,
};
use tempfile::TempDir;

/// Where one user's instances are.
pub struct Home(TempDir);

impl Home {
    /// An empty one.
    pub fn new() -> Home {
        Home(tempfile::tempdir().expect("a folder is made"))
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `cargo unikernel instance WORDS`.
    pub fn command(&self, words: &str) -> Command {
        let mut command = Command::new(image::tool());
        command.arg("instance").args(words.split_whitespace());
        command
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_RUNTIME_DIR", self.0.path())
            .env("HOME", self.0.path());
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command
    }

    /// The same, run to its end.
    pub fn run(&self, words: &str) -> Output {
        self.command(words).output().expect("the tool starts")
    }

    /// The same, which must succeed; what it says.
    pub fn says(&self, words: &str) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("the tool speaks UTF-8")
    }

    /// Makes an instance of a package.
    pub fn create(&self, name: &str, package: &str, words: &str) {
        let image = image::image(package);
        self.says(&format!("create {name} --image {} {words}", image.display()));
    }

    /// What `list` knows of the instance; `null` if it knows none.
    pub fn state(&self, name: &str) -> Value {
        let all: Value = serde_json::from_str(&self.says("list --json")).expect("the list is JSON");
        all.as_array().expect("the list is one").iter().find(|one| one["name"] == name).cloned().unwrap_or_default()
    }

    /// Waits until the instance is as wanted.
    pub fn wait(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.state(name);
            if wanted(&state) {
                return state;
            }
            assert!(Instant::now() < deadline, "{state}");
            // There is no event for somebody who only looks.
            thread::sleep(client::PAUSE);
        }
    }

    /// Waits until the instance has logged this.
    pub fn logs_say(&self, name: &str, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.says(&format!("logs {name}")).contains(text) {
            assert!(Instant::now() < deadline, "{name} never said `{text}`");
            thread::sleep(client::PAUSE);
        }
    }

    /// The file names of all that instances have left here.
    pub fn left(&self) -> Vec<PathBuf> {
        let folders = [self.path("state/unikernel/instances"), self.path("unikernel")];
        folders.iter().flat_map(|folder| entries(folder)).collect()
    }

    /// The command lines of processes that work for an instance of this home.
    pub fn processes(&self) -> Vec<String> {
        let instances = self.path("state/unikernel/instances");
        let line = |entry: PathBuf| fs::read(entry.join("cmdline")).ok();
        let lines = entries(Path::new("/proc")).into_iter().filter_map(line);
        let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
        lines.filter(|line| line.contains(&*instances.to_string_lossy())).collect()
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

impl Drop for Home {
    fn drop(&mut self) {
        for path in entries(&self.path("state/unikernel/instances")) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if thread::panicking() {
                eprintln!("{name} said:\n{}", String::from_utf8_lossy(&self.run(&format!("logs {name}")).stdout));
            }
            self.run(&format!("delete --now {name}"));
        }
    }
}
