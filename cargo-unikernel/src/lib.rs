//! Builds, boots and examines unikernels. Start with [`cli`], which names the subcommands; [`runner`] is
//! what cargo calls to run an image.
//!
//! | question | module |
//! |---|---|
//! | how does an app begin? | [`mod@new`] |
//! | which options apply? | [`package`] (Cargo.toml), [`runner`] (command line), merged in [`settings`] |
//! | is everything installed? | [`install`], [`accel`], [`port`], [`doctor`] |
//! | which QEMU command is that, with which files? | [`qemu`], [`module`], [`disk`], [`drives`], [`firmware`] |
//! | what does its network port lead to? | [`net`] |
//! | how does the VM live and end? | [`vm`], [`babysit`], [`ending`] |
//! | what is on a disk? | [`fs`], [`kv`] |
//! | how does an app start without QEMU's `-kernel`? | [`boot_disk`], with the loaders in `loader/` |
//! | which images were made, and what is in one? | [`catalog`] |
//! | what is a hypervisor or cluster told? | [`deploy`] |
//! | does its web server answer? | [`announce`] |
//! | what goes on inside? | [`inspect`] |
//! | how does it live in the background? | [`instance`], kept in [`state`] |
//! | what is an image made of? | [`size`] |
//! | what does it say? | [`console`] (text and log frames), [`symbols`] (addresses to lines) |
#![forbid(unsafe_code)]

pub mod accel;
pub mod announce;
pub mod babysit;
pub mod boot_disk;
pub mod build;
pub mod catalog;
pub mod cli;
mod completions;
pub mod console;
pub mod debug;
pub mod deploy;
pub mod disk;
pub mod doctor;
pub mod drives;
pub mod dump;
pub mod ending;
pub mod environment;
pub mod firmware;
pub mod fs;
pub mod image;
pub mod inspect;
pub mod install;
pub mod instance;
pub mod kv;
pub mod module;
pub mod net;
pub mod new;
pub mod package;
pub mod port;
pub mod qemu;
pub mod qmp;
pub mod registry;
pub mod runner;
pub mod settings;
mod short;
pub mod size;
pub mod state;
pub mod symbols;
pub mod vm;
pub mod watch;
