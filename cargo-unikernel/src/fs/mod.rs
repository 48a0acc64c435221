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

use crate::boot_disk;

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
    /// Makes a disk that UEFI and a BIOS start an app from.
    Create(Box<boot_disk::Create>),
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
        let command = match self {
            ImageCommand::Fs(command) => command,
            ImageCommand::Create(create) => return text::unless_unheard(create.exec()),
        };
        text::unless_unheard(match command {
            FsCommand::Create(arguments) => arguments.exec(),
            FsCommand::Ls(arguments) => arguments.exec(),
            FsCommand::Cat(arguments) => arguments.exec(),
            FsCommand::Cp(arguments) => arguments.exec(),
            FsCommand::Check(arguments) => arguments.exec(),
        })
    }
}
