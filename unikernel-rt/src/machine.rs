//! Turns the arguments of `main` into devices: [`Acquire`]. [`Machine`] is what it draws from.

use crate::{Error, Modules, Result, device::NetDevice};
use alloc::{boxed::Box, collections::VecDeque};

/// A type that `main` can have as an argument.
///
/// Arguments are acquired from left to right before `main` is called.
pub trait Acquire: Sized {
    /// Takes what it needs from the machine.
    ///
    /// # Errors
    ///
    /// What it needs is missing or misconfigured; the error says which flag or boot argument to add.
    fn acquire(machine: &mut Machine) -> Result<Self>;
}

/// The devices that nobody has taken yet.
#[derive(Default)]
pub struct Machine {
    nets: VecDeque<Box<dyn NetDevice>>,
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
    fn acquire(machine: &mut Machine) -> Result<Machine> {
        let (nets, modules) = (core::mem::take(&mut machine.nets), machine.take_modules());
        Ok(Machine { nets, modules, app_reads_args: machine.app_reads_args })
    }
}
