//! virtio devices: found on the PCI bus, on the command line, or in the ACPI tables; reached through the MMIO transport of
//! `virtio-drivers` or a PCI transport of our own, driven by asynchronous drivers of our own.

mod block;
mod device;
#[cfg(feature = "selftest")]
pub mod fuzz;
mod net;
mod pages;
mod pci_transport;
mod queue;
mod request_queue;
mod ring;
mod rng;

use super::{
    acpi::{Facts, MmioDevice},
    apic,
    interrupts::Irq,
    memory, pci,
};
use crate::{Error, Machine, Result, args};
use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::{ops::Range, ptr::NonNull};
use pci_transport::PciTransport;
use virtio_drivers::transport::{DeviceType, Transport, mmio::MmioTransport};

/// The vendor of every virtio device (virtio 1.2, 4.1.2).
const VENDOR: u16 = 0x1af4;

/// The register block of one virtio-mmio device.
const MMIO_LEN: u64 = 0x200;
/// All registers have four bytes.
const MMIO_ALIGN: u64 = 4;

/// The random number device of the machine, before anything else is set up.
pub(super) use rng::collect as collect_entropy;

/// Adds every device we have a driver for.
///
/// # Errors
///
/// A device is there but cannot be used; the error says which and why.
pub(super) fn probe(machine: &mut Machine, facts: &Facts) -> Result {
    let functions = if has_pci()? { pci::functions(VENDOR) } else { Vec::new() };
    for function in functions {
        if PciTransport::device_type_of(function).is_some_and(has_driver) {
            let mut transport = PciTransport::new(function)?;
            let irq = Irq::new().ok_or_else(no_vector)?;
            transport.set_interrupt(irq.vector())?;
            add(machine, transport, irq)?;
        }
    }
    for device in mmio_devices(facts)? {
        let transport = mmio_transport(&device).filter(|transport| has_driver(transport.device_type()));
        if let Some(transport) = transport {
            let irq = Irq::new().ok_or_else(no_vector)?;
            let (io_apic, line) = facts.io_apic_of(device.line);
            if line >= apic::LINES_MAX {
                return Err(Error::msg(format!(
                    "a virtio device has interrupt {}, which no I/O APIC has",
                    device.line
                )));
            }
            apic::route(io_apic, line, irq.vector());
            add(machine, transport, irq)?;
        }
    }
    Ok(())
}

/// `pci=off`, as Linux has it: hypervisors without PCI, such as Firecracker, say so.
fn has_pci() -> Result<bool> {
    match args::take::<String>("pci")?.as_deref() {
        None | Some("on") => Ok(true),
        Some("off") => Ok(false),
        Some(value) => Err(Error::msg(format!("boot argument `pci={value}`: write pci=on or pci=off"))),
    }
}

fn has_driver(kind: DeviceType) -> bool {
    matches!(kind, DeviceType::Network | DeviceType::Block)
}

fn add(machine: &mut Machine, transport: impl Transport + 'static, irq: Irq) -> Result {
    match transport.device_type() {
        DeviceType::Network => machine.add_net(Box::new(net::VirtioNet::new(transport, irq)?)),
        _ => machine.add_disk(Box::new(block::VirtioBlock::new(transport, irq)?)),
    }
    Ok(())
}

fn no_vector() -> Error {
    Error::msg("the machine has more devices than this unikernel has interrupt vectors; remove some")
}

/// Devices of the command line, else those of the ACPI tables: both name the same ones.
fn mmio_devices(facts: &Facts) -> Result<Vec<MmioDevice>> {
    let words = args::take_prefixed("virtio_mmio.device");
    if words.is_empty() {
        return Ok(facts.virtio_mmio());
    }
    words.iter().map(|(_, value)| parse_mmio(value)).collect()
}

/// `SIZE@BASE:IRQ[:ID]`, as Linux has it (Documentation/admin-guide/kernel-parameters.txt).
fn parse_mmio(value: &str) -> Result<MmioDevice> {
    let parsed = || {
        let (size, rest) = value.split_once('@')?;
        let mut rest = rest.split(':');
        let (base, line) = (rest.next()?, rest.next()?);
        let (base, size) = (parse_number(base)?, parse_size(size)?);
        Some(MmioDevice { registers: base..base.checked_add(size)?, line: line.parse().ok()? })
    };
    parsed().ok_or_else(|| Error::msg(format!("boot argument `virtio_mmio.device={value}`: write SIZE@BASE:IRQ")))
}

fn parse_number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn parse_size(text: &str) -> Option<u64> {
    match text.strip_suffix(['K', 'k']) {
        Some(kib) => parse_number(kib)?.checked_mul(1024),
        None => parse_number(text),
    }
}

/// The device behind these registers; `None` for an empty slot, which has device id 0.
fn mmio_transport(device: &MmioDevice) -> Option<MmioTransport<'static>> {
    let Range { start, end } = device.registers;
    if end - start < MMIO_LEN || !start.is_multiple_of(MMIO_ALIGN) {
        return None;
    }
    let registers = memory::map_device(memory::physical_range(start, MMIO_LEN)?);
    let header = NonNull::new(registers)?.cast();
    // SAFETY: registers of a virtio-mmio device, by the word of the command line or the firmware; mapped for ever.
    unsafe { MmioTransport::new(header, MMIO_LEN as usize) }.ok()
}
