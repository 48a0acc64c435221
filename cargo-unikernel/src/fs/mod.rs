//! `cargo unikernel image fs`: makes images of disks, and reads and changes what is on them.
//!
//! The file systems are those of the app, [`unikernel_blockfs`], on the hosted platform: what they write here, they read
//! there.

mod check;
mod copy;
mod create;
mod draft;
mod folder;
mod list;
mod open;
mod tar;
mod text;

use anyhow::Result;
use clap::Subcommand;

use crate::{boot_disk, catalog, deploy};

pub use create::{Source, write_content};
pub use draft::Draft;
pub use open::{Access, Image, on_disk};
pub use text::{escaped, is_unheard, print, printable, unless_unheard};

/// What `image` is about.
#[derive(Subcommand)]
pub enum ImageCommand {
    /// Images of disks: makes them, reads them, changes them.
    #[command(subcommand)]
    Fs(FsCommand),
    /// Makes an image of an app: a disk that UEFI and a BIOS start, a kernel, or an image for container registries.
    Create(Box<boot_disk::Create>),
    /// Lists the images that were made.
    List(catalog::List),
    /// Shows what is in an image: partitions, volumes, build, boot arguments.
    Inspect(catalog::Inspect),
    /// Removes images, and what lies beside them.
    Delete(catalog::Delete),
    /// Shows the boot arguments of an image, or gives it others.
    Arguments(boot_disk::Arguments),
    /// Shows which variables are in an image, or gives it others.
    Env(boot_disk::Env),
    /// Writes what a hypervisor or cluster is told to run an image.
    Export(Box<deploy::Export>),
}

/// What is done with an image of a disk.
#[derive(Subcommand)]
pub enum FsCommand {
    /// Makes an image of a folder.
    Create(create::Arguments),
    /// Lists a folder of an image.
    Ls(list::Arguments),
    /// Prints a file of an image.
    Cat(copy::CatArguments),
    /// Copies a file or folder out of an image or into one.
    Cp(copy::Arguments),
    /// Reads everything on an image; exit code 1 when something cannot be read.
    Check(check::Arguments),
}

impl ImageCommand {
    /// Does it; the result is the exit code.
    pub fn exec(self) -> Result<u8> {
        text::unless_unheard(match self {
            ImageCommand::Fs(command) => command.exec(),
            ImageCommand::Create(create) => create.exec(),
            ImageCommand::List(list) => list.exec(),
            ImageCommand::Inspect(inspect) => inspect.exec(),
            ImageCommand::Delete(delete) => delete.exec(),
            ImageCommand::Arguments(arguments) => arguments.exec(),
            ImageCommand::Env(env) => env.exec(),
            ImageCommand::Export(export) => export.exec(),
        })
    }
}

impl FsCommand {
    fn exec(self) -> Result<u8> {
        match self {
            FsCommand::Create(arguments) => arguments.exec(),
            FsCommand::Ls(arguments) => arguments.exec(),
            FsCommand::Cat(arguments) => arguments.exec(),
            FsCommand::Cp(arguments) => arguments.exec(),
            FsCommand::Check(arguments) => arguments.exec(),
        }
    }
}
