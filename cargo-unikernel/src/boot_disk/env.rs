//! `image env`: the environment on a finished disk, of which the keys are shown, or which is replaced.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;

use super::{
    Opened,
    arguments::{Change, replace},
};
use crate::{
    environment::{EnvOptions, Environment},
    fs::print,
};

/// Whose, and to what it is changed.
#[derive(clap::Args)]
pub struct Env {
    /// A disk or an OCI image that `image create --env` made.
    image: PathBuf,
    #[command(flatten)]
    env: EnvOptions,
    /// Takes all variables away.
    #[arg(long, conflicts_with_all = ["variables", "env_files"])]
    none: bool,
    /// Prints the keys as JSON.
    #[arg(long)]
    json: bool,
}

impl Env {
    /// Changes it, if asked to, and prints the keys.
    pub fn exec(self) -> Result<u8> {
        let environment = Environment::of(&self.env).map_err(anyhow::Error::msg)?;
        let image = Opened::open(&self.image)?;
        let keys = image.config.clone().with_context(|| {
            format!("{} has no config partition; create it again with `--env NAME=VALUE`", self.image.display())
        })?;
        let keys = match self.none || !environment.is_empty() {
            true => {
                let arguments = image.arguments.clone();
                replace(&self.image, image, &Change { arguments: &arguments, config: Some(&environment.text()) })?;
                environment.keys()
            }
            false => keys,
        };
        print(&match self.json {
            true => json!({ "file": self.image, "config": keys }).to_string(),
            false => keys.join("\n"),
        })?;
        Ok(0)
    }
}
