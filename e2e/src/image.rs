//! Builds each image, and the tool that boots it, once per test run.

use std::{
    collections::BTreeMap,
    env,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

use cargo_metadata::Message;

/// The release image of a package of this workspace.
pub fn image(package: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    // A build that failed left nothing half done, so the other tests may go on.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let target = ["--release", "--target", "x86_64-unknown-none"];
    built.entry(package.to_owned()).or_insert_with(|| build(package, &target)).clone()
}

/// The `cargo-unikernel` command.
pub fn tool() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("cargo-unikernel", &[]))
}

fn build(package: &str, options: &[&str]) -> PathBuf {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", package, "--message-format=json-render-diagnostics"]);
    cargo.args(options).current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit());
    let output = cargo.output().expect("cargo starts");
    assert!(output.status.success(), "{package} does not build");
    let executable = |message| match message {
        Message::CompilerArtifact(artifact) => artifact.executable.map(PathBuf::from),
        _ => None,
    };
    let mut executables = Message::parse_stream(&*output.stdout).flatten().filter_map(executable);
    executables.next().expect("the package has a binary")
}
