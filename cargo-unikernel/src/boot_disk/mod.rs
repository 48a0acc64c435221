//! `cargo unikernel image create`: an image of an app, for whoever shall run it.
//!
//! A disk that UEFI and a BIOS start from has a GPT with a partition for the BIOS loader, the EFI system partition with the UEFI
//! loader, the kernel and its boot arguments, one partition for each volume, and one for the environment. Other kinds are made of it,
//! or of the kernel alone.
//! Made of the same parts they are the same, byte for byte.
//!
//! | question | module |
//! |---|---|
//! | what is made, and in which order? | `create` |
//! | which kinds of files are there? | `format` |
//! | what is on the disk, and where? | `layout`, `esp`, `config`, `write`, `loaders`, `kernel` |
//! | how do others make a file of it? | `convert`, [`bare`], `oci` |
//! | what is in an image that was made? | `opened`, `arguments`, `env` |
//! | what does a cloud get that takes only the bytes of a disk? | `raw` |
//! | what lies beside it? | `sbom`, `hash` |

mod arguments;
pub mod bare;
mod config;
mod convert;
mod create;
mod env;
mod esp;
mod format;
pub(crate) mod hash;
mod kernel;
mod layout;
mod loaders;
pub(crate) mod oci;
mod opened;
#[cfg(feature = "aws")]
mod raw;
mod sbom;
mod write;

pub use arguments::Arguments;
pub(crate) use convert::check_qemu_img;
pub use create::Create;
pub use env::Env;
pub(crate) use format::Format;
pub use kernel::stripped;
pub(crate) use loaders::check_loaders;
pub(crate) use opened::Opened;
#[cfg(feature = "aws")]
pub(crate) use raw::RawDisk;

use std::path::{Path, PathBuf};

/// The longest command line that a kernel takes.
const ARGUMENTS_LEN_MAX: usize = 2048;

/// A file beside an image: its name with something more.
pub(crate) fn beside(image: &Path, ending: &str) -> PathBuf {
    let mut name = image.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// What the files beside an image end with: checksum, software bill of materials, manifest.
pub(crate) const BESIDE: [&str; 3] = [".sha256", ".cdx.json", ".kubernetes.yaml"];

/// Refuses boot arguments that no kernel takes.
fn check_arguments(arguments: &[String]) -> anyhow::Result<()> {
    let len = arguments.join(" ").len();
    anyhow::ensure!(
        len <= ARGUMENTS_LEN_MAX,
        "the boot arguments have {len} bytes; a kernel takes {ARGUMENTS_LEN_MAX} at most, so shorten them"
    );
    Ok(())
}
