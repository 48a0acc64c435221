//! Turns the arguments of `main` into devices: [`Acquire`]. [`Machine`] is what it draws from.

use crate::{Error, Result, device::NetDevice};
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
        Ok(Machine { nets: core::mem::take(&mut machine.nets), app_reads_args: machine.app_reads_args })
    }
}
