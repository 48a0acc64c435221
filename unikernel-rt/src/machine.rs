//! Turns the arguments of `main` into devices: [`Acquire`]. [`Machine`] is what it draws from.

use crate::{
    Error, Modules, Result,
    device::{BlockDevice, BlockInfo, NetDevice},
};
use alloc::{boxed::Box, collections::VecDeque, format, string::String, vec::Vec};
use core::future::Future;

/// A type that `main` can have as an argument.
///
/// Arguments are acquired from left to right before `main` is called.
pub trait Acquire: Sized {
    /// Takes what it needs from the machine, and waits for it where it must: a disk is read before it is a volume.
    ///
    /// # Errors
    ///
    /// What it needs is missing or misconfigured; the error says which flag or boot argument to add.
    fn acquire(machine: &mut Machine) -> impl Future<Output = Result<Self>>;
}

/// The devices that nobody has taken yet.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::{Acquire, Machine, Result};
///
/// /// What `main` can ask for by this type: a key of 32 bytes, from the boot module `key`.
/// struct Key([u8; 32]);
///
/// impl Acquire for Key {
///     async fn acquire(machine: &mut Machine) -> Result<Key> {
///         let bytes = machine.take_module("key")?;
///         let key = bytes.try_into().map_err(|_| unikernel_rt::Error::msg("the boot module `key` has 32 bytes"))?;
///         Ok(Key(key))
///     }
/// }
///
/// let mut machine = Machine::new();
/// machine.add_module("key", &[7; 32])?;
/// assert_eq!(Key::acquire(&mut machine).await?.0, [7; 32]);
/// # Ok::<_, unikernel_rt::Error>(())
/// # }).unwrap();
/// ```
#[derive(Default)]
pub struct Machine {
    nets: VecDeque<Box<dyn NetDevice>>,
    disks: VecDeque<Box<dyn BlockDevice>>,
    modules: Modules,
    app_reads_args: bool,
}

impl Machine {
    /// A machine without devices, for tests: add what the app needs.
    pub fn new() -> Machine {
        Machine::default()
    }

    /// Plugs in a network port, after those that are there.
    pub fn add_net(&mut self, port: Box<dyn NetDevice>) {
        self.nets.push_back(port);
    }

    /// Takes the next network port, in the order of the bus.
    ///
    /// # Errors
    ///
    /// There is none left.
    pub fn take_net(&mut self) -> Result<Box<dyn NetDevice>> {
        self.nets.pop_front().ok_or_else(|| {
            Error::msg(
                "this unikernel needs a network port; start it with `cargo unikernel run --net user`, or give QEMU \
                 `-netdev user,id=n0 -device virtio-net-pci,netdev=n0` (microvm: `virtio-net-device`)",
            )
        })
    }

    /// Plugs in a disk, after those that are there.
    pub fn add_disk(&mut self, disk: Box<dyn BlockDevice>) {
        self.disks.push_back(disk);
    }

    /// The disks that nobody has taken, in the order of the bus.
    pub fn disks(&self) -> impl Iterator<Item = &BlockInfo> {
        self.disks.iter().map(|disk| disk.info())
    }

    /// Takes the next disk, in the order of the bus.
    ///
    /// # Errors
    ///
    /// There is none left.
    pub fn take_disk(&mut self) -> Result<Box<dyn BlockDevice>> {
        self.disks.pop_front().ok_or_else(|| {
            Error::msg(
                "this unikernel needs a disk; start it with `cargo unikernel run --disk FILE`, or give QEMU \
                 `-drive if=none,id=d0,format=raw,file=FILE -device virtio-blk-pci,drive=d0` (microvm: \
                 `virtio-blk-device`)",
            )
        })
    }

    /// Takes the disk with this serial.
    ///
    /// # Errors
    ///
    /// There is none; the error names those that there are.
    pub fn take_disk_named(&mut self, serial: &str) -> Result<Box<dyn BlockDevice>> {
        let place = self.disks.iter().position(|disk| disk.info().serial == serial);
        place.and_then(|place| self.disks.remove(place)).ok_or_else(|| self.no_disk_named(serial))
    }

    fn no_disk_named(&self, serial: &str) -> Error {
        let names: Vec<String> = self.disks().map(|disk| format!("`{}`", disk.serial)).collect();
        let names = if names.is_empty() { "no disks".into() } else { names.join(", ") };
        Error::msg(format!(
            "this unikernel needs a disk named `{serial}`; start it with `cargo unikernel run --volume {serial}=FILE`, or \
             give QEMU `-device virtio-blk-pci,drive=…,serial={serial}`. The machine has {names}"
        ))
    }

    /// Adds a boot module, as if the loader had passed it: a cpio archive counts as the files in it.
    ///
    /// # Errors
    ///
    /// It is an archive that is damaged.
    pub fn add_module(&mut self, name: &str, bytes: &'static [u8]) -> Result {
        self.modules.add(name, bytes)
    }

    /// Takes the boot module of this name.
    ///
    /// # Errors
    ///
    /// There is none, or it was taken before.
    pub fn take_module(&mut self, name: &str) -> Result<&'static [u8]> {
        self.modules.take(name)
    }

    pub(crate) fn take_modules(&mut self) -> Modules {
        core::mem::take(&mut self.modules)
    }

    pub(crate) fn args_belong_to_app(&mut self) {
        self.app_reads_args = true;
    }

    /// Called when every argument of `main` is there.
    pub(crate) fn finish(&self) -> Result {
        if self.app_reads_args { Ok(()) } else { crate::args::check_all_taken() }
    }
}

/// All of the machine that is left, for apps that wire their devices themselves.
impl Acquire for Machine {
    async fn acquire(machine: &mut Machine) -> Result<Machine> {
        let (nets, disks) = (core::mem::take(&mut machine.nets), core::mem::take(&mut machine.disks));
        Ok(Machine { nets, disks, modules: machine.take_modules(), app_reads_args: machine.app_reads_args })
    }
}
