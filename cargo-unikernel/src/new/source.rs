//! Where a new app takes the framework from: what its author says, else where this command came from.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use cargo_metadata::semver::VersionReq;
use serde_json::Value;

/// One of three, or none.
#[derive(clap::Args, Debug, Default)]
#[command(next_help_heading = "Where the framework comes from (by default, from where this command came)")]
pub struct SourceOptions {
    /// A checkout of its repository.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["git", "registry"])]
    path: Option<PathBuf>,
    /// A git repository.
    #[arg(long, value_name = "URL", conflicts_with = "registry")]
    git: Option<String>,
    /// Of that repository, this commit, tag or branch head.
    #[arg(long, value_name = "COMMIT", requires = "git")]
    rev: Option<String>,
    /// A version of the registry.
    #[arg(long, value_name = "VERSION")]
    registry: Option<String>,
}

/// Where the framework comes from.
#[derive(Debug, PartialEq)]
pub enum Source {
    Path(PathBuf),
    Git { url: String, rev: Option<String> },
    Registry(String),
}

impl SourceOptions {
    /// The source that the options name, checked as far as that is possible without a network.
    pub fn choose(self) -> Result<Source> {
        match self {
            SourceOptions { path: Some(folder), .. } => checkout(&folder),
            SourceOptions { git: Some(url), rev, .. } => git(url, rev),
            SourceOptions { registry: Some(version), .. } => registry(version),
            _ => Ok(own(Path::new(env!("CARGO_MANIFEST_DIR")), cargo_home().as_deref())),
        }
    }
}

fn checkout(folder: &Path) -> Result<Source> {
    if !is_checkout(folder) {
        bail!(
            "{} is no checkout of the framework: it has no unikernel-rt/Cargo.toml; give the folder that has",
            folder.display()
        );
    }
    let folder = fs::canonicalize(folder).with_context(|| format!("cannot find {}", folder.display()))?;
    if folder.to_string_lossy().contains("CRATE") {
        bail!("the path {} has the word CRATE in it, which stands for something else in templates", folder.display());
    }
    Ok(Source::Path(folder))
}

fn git(url: String, rev: Option<String>) -> Result<Source> {
    if !url.contains("://") || url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        bail!("`{url}` is no URL as cargo takes it; write `https://…`, `ssh://git@…` or `file:///…`");
    }
    Ok(Source::Git { url, rev })
}

fn registry(version: String) -> Result<Source> {
    if let Err(error) = VersionReq::parse(&version) {
        bail!("`{version}` is no version: {error}; write one such as `{}`", env!("CARGO_PKG_VERSION"));
    }
    Ok(Source::Registry(version))
}

fn is_checkout(folder: &Path) -> bool {
    folder.join("unikernel-rt/Cargo.toml").is_file()
}

fn cargo_home() -> Option<PathBuf> {
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

/// The source of this command, which was built in the folder `built_in`.
fn own(built_in: &Path, cargo_home: Option<&Path>) -> Source {
    let registry = || Source::Registry(env!("CARGO_PKG_VERSION").into());
    // What lies there is a copy of cargo's, which it may throw away.
    if cargo_home.is_some_and(|home| built_in.starts_with(home)) {
        return cargo_home.and_then(installed_from).unwrap_or_else(registry);
    }
    built_in.parent().and_then(|folder| checkout(folder).ok()).unwrap_or_else(registry)
}

/// The repository and commit that cargo remembers to have installed this command from.
fn installed_from(cargo_home: &Path) -> Option<Source> {
    let record = fs::read(cargo_home.join(".crates2.json")).ok()?;
    let record: Value = serde_json::from_slice(&record).ok()?;
    // `cargo-unikernel 0.1.0 (git+https://example.org/unikernel?branch=main#0123…)`
    let own = format!("cargo-unikernel {} (git+", env!("CARGO_PKG_VERSION"));
    let (url, rev) = record
        .get("installs")?
        .as_object()?
        .keys()
        .find_map(|key| key.strip_prefix(&own)?.strip_suffix(')')?.split_once('#'))?;
    let url = url.split_once('?').map_or(url, |(url, _)| url);
    git(url.into(), Some(rev.into())).ok()
}

impl Source {
    /// A dependency without its braces, as in Cargo.toml; `CRATE` stands for the folder of the crate.
    pub fn dependency(&self) -> Result<String> {
        Ok(match self {
            Source::Path(folder) => format!("path = {}", quoted(&format!("{}/CRATE", text(folder)?))?),
            Source::Git { url, rev: None } => format!("git = {}", quoted(url)?),
            Source::Git { url, rev: Some(rev) } => format!("git = {}, rev = {}", quoted(url)?, quoted(rev)?),
            Source::Registry(version) => format!("version = {}", quoted(version)?),
        })
    }

    /// The words for `cargo install` that install this command from there.
    pub fn install_words(&self) -> Result<String> {
        let words = match self {
            Source::Path(folder) => vec!["--path".into(), format!("{}/cargo-unikernel", text(folder)?)],
            Source::Git { url, rev } => {
                let rev = rev.iter().flat_map(|rev| ["--rev".into(), rev.clone()]);
                ["--git".into(), url.clone()].into_iter().chain(rev).chain(["cargo-unikernel".into()]).collect()
            }
            Source::Registry(version) => vec!["cargo-unikernel".into(), "--version".into(), version.clone()],
        };
        shlex::try_join(words.iter().map(String::as_str)).context("a zero byte is in a path, URL or commit")
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Path(folder) => write!(f, "{}", folder.display()),
            Source::Git { url, rev: None } => write!(f, "{url}"),
            Source::Git { url, rev: Some(rev) } => write!(f, "{url} at {rev}"),
            Source::Registry(version) => write!(f, "the registry, version {version}"),
        }
    }
}

/// JSON's strings are TOML's basic strings.
fn quoted(text: &str) -> Result<String> {
    serde_json::to_string(text).context("cannot quote a text")
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("Cargo.toml cannot name {}, which is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: Source, dependency: &str, install: &str) {
        assert_eq!(
            (source.dependency().unwrap(), source.install_words().unwrap()),
            (dependency.into(), install.into())
        );
    }

    #[test]
    fn words_for_cargo() {
        let (path, uk) = (|path: &str| Source::Path(path.into()), "https://example.org/uk");
        check(path("/src/uk"), r#"path = "/src/uk/CRATE""#, "--path /src/uk/cargo-unikernel");
        check(path("/my \"uk\""), r#"path = "/my \"uk\"/CRATE""#, r#"--path '/my "uk"/cargo-unikernel'"#);
        let git = |rev: Option<&str>| Source::Git { url: uk.into(), rev: rev.map(Into::into) };
        check(git(None), r#"git = "https://example.org/uk""#, "--git https://example.org/uk cargo-unikernel");
        check(
            git(Some("v1")),
            r#"git = "https://example.org/uk", rev = "v1""#,
            "--git https://example.org/uk --rev v1 cargo-unikernel",
        );
        check(Source::Registry("0.1.0".into()), r#"version = "0.1.0""#, "cargo-unikernel --version 0.1.0");
    }

    #[test]
    fn wrong_sources_are_explained() {
        let check = |options: SourceOptions, expected: &str| {
            let text = options.choose().map_or_else(|error| error.to_string(), |source| format!("{source:?}"));
            assert!(text.contains(expected), "{text}");
        };
        let none = SourceOptions::default;
        check(SourceOptions { path: Some("/nowhere".into()), ..none() }, "it has no unikernel-rt/Cargo.toml; give the");
        for url in ["example.org/uk", "git@example.org:uk", "https://a b", "https://a\n"] {
            check(SourceOptions { git: Some(url.into()), ..none() }, "is no URL as cargo takes it; write `https://…`");
        }
        check(SourceOptions { registry: Some("newest".into()), ..none() }, "`newest` is no version: ");
        check(SourceOptions { registry: Some("0.1".into()), ..none() }, "Registry(\"0.1\")");
    }

    #[test]
    fn by_default_it_is_where_this_command_came_from() {
        let folder = tempfile::TempDir::new().unwrap();
        let home = folder.path().join("cargo");
        let built_in = folder.path().join("uk/cargo-unikernel");
        let registry = Source::Registry(env!("CARGO_PKG_VERSION").into());
        assert_eq!(own(&built_in, Some(&home)), registry, "the checkout is gone");
        fs::create_dir_all(folder.path().join("uk/unikernel-rt")).unwrap();
        fs::write(folder.path().join("uk/unikernel-rt/Cargo.toml"), "").unwrap();
        let checkout = fs::canonicalize(folder.path().join("uk")).unwrap();
        assert_eq!(own(&built_in, Some(&home)), Source::Path(checkout));

        let copy = home.join("git/checkouts/uk-0123/cargo-unikernel");
        assert_eq!(own(&copy, Some(&home)), registry, "cargo remembers nothing");
        fs::create_dir_all(&home).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let record = format!(
            r#"{{"installs":{{"ripgrep 15.0.0 (registry+https://r)":{{}},"cargo-unikernel {version} (git+https://example.org/uk?branch=main#0123)":{{}}}}}}"#
        );
        fs::write(home.join(".crates2.json"), record).unwrap();
        let git = Source::Git { url: "https://example.org/uk".into(), rev: Some("0123".into()) };
        assert_eq!(own(&copy, Some(&home)), git);
    }
}
