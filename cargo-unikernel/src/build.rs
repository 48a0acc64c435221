//! `build`, `run` and `test`: cargo's own commands with the target of an image.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    fs,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use cargo_metadata::{Artifact, Message, MetadataCommand, PackageId, Target};
use serde::Serialize;
use serde_json::json;

use crate::{
    fs::{print, unless_unheard},
    install,
    instance::view,
    package, qemu,
    settings::Options,
    short::Short,
};

/// Which package is built, and how; the same options as cargo's.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Selection {
    /// The package to build.
    #[arg(short, long, value_name = "NAME")]
    pub(crate) package: Option<String>,
    /// Optimises the image, as for `cargo build --release`.
    #[arg(short, long)]
    pub(crate) release: bool,
    /// Features to activate, separated by commas.
    #[arg(short = 'F', long)]
    pub(crate) features: Option<String>,
}

/// Builds an app for the machine and boots it.
#[derive(clap::Args)]
// `-p` is both, see `Short`.
#[command(mut_arg("ports", |port| port.short(None)), mut_arg("package", |package| package.short(None)))]
pub struct Run {
    #[command(flatten)]
    short: Short,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    options: Options,
    /// Builds it, and prints the commands that would run it.
    #[arg(long)]
    dry_run: bool,
    /// Boot arguments (`key=value`), and other options of `cargo unikernel runner`.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// Builds an app for the machine.
#[derive(clap::Args)]
pub struct Build {
    #[command(flatten)]
    selection: Selection,
    /// Prints the images as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs a package's tests inside a virtual machine.
#[derive(clap::Args)]
pub struct Test {
    #[command(flatten)]
    selection: Selection,
    /// Part of the names of the tests to run.
    filter: Option<OsString>,
    /// Options of `cargo unikernel runner` and boot arguments.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

impl Run {
    /// Becomes `cargo run`; returns only if that fails.
    pub fn exec(mut self) -> Result<u8> {
        self.short.apply(&mut self.selection, &mut self.options, false)?;
        let dry_run = self.dry_run.then_some("--dry-run");
        let mut cargo = cargo("run", &self.selection)?;
        become_cargo(cargo.arg("--").args(self.options.words()).args(dry_run).args(self.arguments))
    }
}

impl Test {
    /// Becomes `cargo test`; returns only if that fails.
    pub fn exec(self) -> Result<u8> {
        let mut cargo = cargo("test", &self.selection)?;
        for name in machine_tests(&self.selection)? {
            cargo.args(["--test", &name]);
        }
        // Before `--`, a filter would make cargo also build test targets that the manifest switches off.
        become_cargo(cargo.arg("--").args(self.filter).args(self.arguments))
    }
}

impl Build {
    /// Runs `cargo build`, then says where each image is and how much of it is loaded.
    pub fn exec(self) -> Result<u8> {
        let images = match build(&self.selection, |_| ())? {
            Ok(images) => images,
            Err(code) => return Ok(code),
        };
        let made = |image: PathBuf| -> Result<Made> {
            let bytes = fs::read(&image).with_context(|| format!("cannot read {}", image.display()))?;
            Ok(Made { image, loaded: loaded_len(&bytes) })
        };
        let made: Vec<Made> = images.into_iter().map(made).collect::<Result<_>>()?;
        let shown = match self.json {
            true => print(&view::json(&made)),
            false => made.iter().try_for_each(|made| print(&made.line())),
        };
        unless_unheard(shown.map(|()| 0).map_err(anyhow::Error::from))
    }
}

/// An image that was built.
#[derive(Serialize)]
struct Made {
    image: PathBuf,
    /// How many bytes of it are in a machine's memory.
    loaded: u64,
}

impl Made {
    fn line(&self) -> String {
        format!("{} ({} KiB loaded)", self.image.display(), self.loaded.div_ceil(1024))
    }
}

/// The images that cargo made, or its exit code.
fn build(selection: &Selection, adjust: impl FnOnce(&mut Command)) -> Result<Result<Vec<PathBuf>, u8>> {
    let mut cargo = cargo("build", selection)?;
    adjust(&mut cargo);
    Ok(messages(&mut cargo)?.map(|messages| images(&messages)))
}

/// What cargo says while it builds, or its exit code.
fn messages(cargo: &mut Command) -> Result<Result<Vec<u8>, u8>> {
    cargo.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    let output = cargo.spawn().and_then(|child| child.wait_with_output()).context("cannot start cargo")?;
    if !output.status.success() {
        return Ok(Err(output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)));
    }
    Ok(Ok(output.stdout))
}

/// Builds what must be a single image, with all that a debugger wants to know.
pub(crate) fn only_image(selection: &Selection) -> Result<PathBuf> {
    one_image(selection, |cargo| {
        // A release has lines and functions only, which is enough for backtraces.
        cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "full").env("CARGO_PROFILE_DEV_DEBUG", "full");
    })
}

/// An image, and the crates that are linked into it.
pub(crate) struct Built {
    pub(crate) image: PathBuf,
    pub(crate) crates: Vec<PackageId>,
}

/// Builds what must be a single image so that it does not depend on the folders where it is built.
pub(crate) fn reproducible(selection: &Selection) -> Result<Built> {
    let flags = remapped()?;
    let mut cargo = cargo("build", selection)?;
    cargo.args(["--config", &flags]);
    let Ok(messages) = messages(&mut cargo)? else { bail!("the build failed, see above") };
    Ok(Built { image: the_only(&images(&messages))?, crates: linked(&messages) })
}

/// The command that [`reproducible`] runs, for a shell.
pub(crate) fn reproducible_line(selection: &Selection) -> Result<String> {
    let mut words = vec![OsString::from("--config"), remapped()?.into()];
    words.splice(0..0, cargo("build", selection)?.get_args().map(OsString::from));
    Ok(qemu::shell_line(&cargo("build", selection)?.get_program().to_string_lossy(), &words))
}

/// cargo's setting by which paths of this workstation do not come into the image: neither into the texts of panics nor into the
/// debug information, of which the build id is made. It adds to the flags that the target has.
fn remapped() -> Result<String> {
    let mut query = MetadataCommand::new();
    let metadata = query.no_deps().exec().context("there is no package here; go to its folder")?;
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let mut places =
        vec![(metadata.workspace_root.into(), ".".into()), (metadata.target_directory.into(), "target".into())];
    places.extend(home.map(|home| (home, "cargo".into())));
    places.push(standard_library()?);
    let flag =
        |(from, to): &(PathBuf, String)| json!(format!("--remap-path-prefix={}={to}", from.display())).to_string();
    let flags: Vec<String> = places.iter().map(flag).collect();
    Ok(format!("target.{}.rustflags=[{}]", install::TARGET, flags.join(",")))
}

/// Where rustc finds the sources of `core` and `alloc` if they are installed, and what it calls them if they are not.
fn standard_library() -> Result<(PathBuf, String)> {
    let rustc = || Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let ask = |words: &[&str]| {
        let output = rustc().args(words).output().context("cannot start rustc")?;
        Ok::<_, anyhow::Error>(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (root, version) = (ask(&["--print", "sysroot"])?, ask(&["--version", "--verbose"])?);
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: ")).unwrap_or("unknown");
    Ok((PathBuf::from(root.trim()).join("lib/rustlib/src/rust"), format!("/rustc/{commit}")))
}

/// The crates that were compiled for the target; others run while building.
fn linked(messages: &[u8]) -> Vec<PackageId> {
    let of_target = |artifact: &Artifact| {
        artifact.filenames.iter().any(|file| file.components().any(|part| part.as_str() == install::TARGET))
    };
    let crates = Message::parse_stream(messages).flatten().filter_map(|message| match message {
        Message::CompilerArtifact(artifact) if of_target(&artifact) => Some(artifact.package_id),
        _ => None,
    });
    crates.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Builds what must be a single image, as `build` does.
pub(crate) fn the_image(selection: &Selection) -> Result<PathBuf> {
    one_image(selection, |_| ())
}

/// The same; `None` when it does not compile, and cargo has said why.
pub(crate) fn image_if_it_builds(selection: &Selection) -> Result<Option<PathBuf>> {
    build(selection, |_| ())?.ok().map(|images| the_only(&images)).transpose()
}

fn one_image(selection: &Selection, adjust: impl FnOnce(&mut Command)) -> Result<PathBuf> {
    let Ok(images) = build(selection, adjust)? else { bail!("the build failed, see above") };
    the_only(&images)
}

fn the_only(images: &[PathBuf]) -> Result<PathBuf> {
    match images {
        [image] => Ok(image.clone()),
        [] => bail!("this package has no image; choose one that has with `-p NAME`"),
        _ => bail!("there are {} images; choose one package with `-p NAME`", images.len()),
    }
}

fn cargo(command: &str, selection: &Selection) -> Result<Command> {
    install::rust_target().map_err(anyhow::Error::msg)?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([command, "--target", install::TARGET]);
    for (option, value) in [("--package", &selection.package), ("--features", &selection.features)] {
        if let Some(value) = value {
            cargo.args([option, value]);
        }
    }
    if selection.release {
        cargo.arg("--release");
    }
    Ok(cargo)
}

fn become_cargo(cargo: &mut Command) -> Result<u8> {
    Err(cargo.exec()).context("cannot start cargo")
}

fn images(messages: &[u8]) -> Vec<PathBuf> {
    let artifact = |message| match message {
        Message::CompilerArtifact(artifact) => artifact.executable.map(PathBuf::from),
        _ => None,
    };
    Message::parse_stream(messages).flatten().filter_map(artifact).collect()
}

/// The tests of the selected packages that are made for a machine. Others, of an app's own modules for one, do not build for it.
fn machine_tests(selection: &Selection) -> Result<Vec<String>> {
    let metadata = MetadataCommand::new().no_deps().exec().context("cannot read Cargo.toml")?;
    let selected = package::selected(&metadata, selection.package.as_deref())?;
    let targets =
        selected.iter().flat_map(|package| &package.targets).filter(|target| is_machine_test(target, selection));
    let names: Vec<_> = targets.map(|target| target.name.clone()).collect();
    if names.is_empty() {
        bail!(
            "there is no test for the machine here; write one as tests/machine.rs that calls `unikernel_rt::test_harness!()`, with \
             `harness = false` for it in Cargo.toml: an app by `cargo unikernel new` has one"
        );
    }
    Ok(names)
}

fn is_machine_test(target: &Target, selection: &Selection) -> bool {
    let features = selection.features.as_deref().unwrap_or_default();
    let is_on = |wanted: &String| features.split([',', ' ']).any(|feature| feature == wanted);
    let calls_harness = || fs::read_to_string(&target.src_path).is_ok_and(|text| text.contains("test_harness!"));
    target.is_test() && target.required_features.iter().all(is_on) && calls_harness()
}

/// What reaches the machine; debug information and log strings stay in the file.
fn loaded_len(elf: &[u8]) -> u64 {
    use object::{Object, ObjectSegment};
    let Ok(file) = object::File::parse(elf) else { return 0 };
    file.segments().map(|segment| segment.file_range().1).sum()
}
