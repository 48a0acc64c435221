//! Builds each image, and the tool that boots it, once per test run.

use std::{
    collections::BTreeMap,
    env,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

use cargo_metadata::Message;

const RELEASE: [&str; 3] = ["--release", "--target", "x86_64-unknown-none"];

/// The release image of a package of this workspace. `PACKAGE+FEATURE` is the same with that feature.
pub fn image(package: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    // A build that failed left nothing half done, so the other tests may go on.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let build = || match package.split_once('+') {
        None => build(package, &RELEASE),
        Some((package, feature)) => build(
            package,
            &["--profile", "variant", "--target", "x86_64-unknown-none", "--features", feature, "--bin", package],
        ),
    };
    built.entry(package.to_owned()).or_insert_with(build).clone()
}

/// The image of this package with all that a debugger wants to know.
pub fn image_for_debugger(package: &str) -> PathBuf {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    build(package, &["--target", "x86_64-unknown-none"])
}

/// A program of this workspace for the workstation.
pub fn program(package: &str) -> PathBuf {
    build(package, &[])
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
