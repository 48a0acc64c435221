//! `cargo unikernel new`: an app of its own from a template.
//!
//! The `templates` are folders of the repository that cargo-generate reads, too; `fill` puts in what differs, with the same
//! result.

mod fill;
mod name;
mod source;
mod templates;
mod write;

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::{Context, Result};
use clap::builder::{PossibleValue, PossibleValuesParser};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use crate::fs::{print, unless_unheard};
use fill::Values;
use source::SourceOptions;
use templates::TEMPLATES;

/// What the app is called, and what it begins as.
#[derive(clap::Args)]
pub struct Arguments {
    /// The app's name; its folder has it, too.
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// What it begins as.
    #[arg(short, long, default_value = "http", value_parser = template_names())]
    template: String,
    /// Lists the templates.
    #[arg(long, conflicts_with = "name")]
    list: bool,
    /// Lists the files that would be written, and writes none.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    source: SourceOptions,
}

fn template_names() -> PossibleValuesParser {
    PossibleValuesParser::new(TEMPLATES.iter().map(|template| PossibleValue::new(template.name).help(template.about)))
}

/// Exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Writes the app into a folder with its name, and says how to go on.
pub fn exec(arguments: Arguments) -> Result<u8> {
    unless_unheard(make(arguments))
}

fn make(arguments: Arguments) -> Result<u8> {
    let Some(name) = arguments.name else { return list() };
    let template = templates::find(&arguments.template).context("clap accepts only names of templates")?;
    name::check(&name, template)?;
    let source = arguments.source.choose()?;
    let folder = Path::new(&name);
    write::check_place(folder)?;
    let (framework, install) = (source.dependency()?, source.install_words()?);
    let values = Values { project_name: name.clone(), framework, install };
    let files = template.files.iter().map(|file| (file.target(), fill::fill(file.text, &values)));
    let files: Vec<(&str, String)> = files.collect();
    if arguments.dry_run {
        files.iter().try_for_each(|(path, _)| print(&format!("{name}/{path}")))?;
        return Ok(0);
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register(signal, interrupted.clone()).context("cannot listen for signals")?;
    }
    if !write::write(folder, &files, &interrupted)? {
        eprintln!("unikernel: interrupted; nothing was written");
        return Ok(INTERRUPTED);
    }
    print(&format!("made {name} from the template `{}`, with the framework from {source}\n", template.name))?;
    print(&format!("    cd {name}\n    cargo run"))?;
    Ok(0)
}

fn list() -> Result<u8> {
    TEMPLATES.iter().try_for_each(|template| print(&format!("{:<12} {}", template.name, template.about)))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both fill the same files, so what they fill in must be the same.
    #[test]
    fn cargo_generate_asks_for_what_we_fill_in() {
        let version = env!("CARGO_PKG_VERSION");
        for template in TEMPLATES {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates").join(template.name);
            let questions = std::fs::read_to_string(folder.join("cargo-generate.toml")).unwrap();
            let names: Vec<_> = questions.lines().filter_map(|line| line.strip_prefix("[placeholders.")).collect();
            assert_eq!(names, ["unikernel]", "unikernel-install]"], "{}", template.name);
            let defaults: Vec<_> = questions.lines().filter_map(|line| line.strip_prefix("default = ")).collect();
            let expected = [format!("'version = \"{version}\"'"), format!("\"cargo-unikernel --version {version}\"")];
            assert_eq!(defaults, expected, "{}", template.name);
        }
    }
}
