//! The network driver against its device.

use super::{
    super::{super::interrupts::Irq, net::VirtioNet},
    Outcome,
    acts::MRG_RXBUF,
    device::{Device, Fake, VERSION_1},
    kept::{Kept, check_freed},
    lies::Lie,
    random::Random,
};
use crate::device::{Checksum, Frame, NetDevice, PACKET_LEN_MAX, Segmentation};
use core::task::{Context, Waker};

const GUEST_CSUM: u64 = 1 << 1;
const MTU: u64 = 1 << 3;
const MAC: u64 = 1 << 5;
const GUEST_TSO: u64 = 3 << 7;
const TURNS_MAX: usize = 48;
/// A frame that the device may cut is at least its headers.
const HEADERS_LEN: usize = 54;

/// Decides what the device is.
pub(super) fn plan(device: &mut Device) {
    let random = &mut device.random;
    let mtu = random.pick(&[576_u16, 1500, 1500, 1500, 9000, 65_535]);
    device.offers = random.next() | random.pick(&[0, 0, VERSION_1, 1 << MRG_RXBUF | GUEST_CSUM | GUEST_TSO]);
    // What cannot be reset keeps its buffers for ever.
    let queues: &[u32] = if device.lie == Some(Lie::KeepsMemory) { &[1, 4, 8] } else { &[1, 2, 8, 64, 256, 1024] };
    device.queue_len = random.pick(queues);
    device.config = [2, 0, 0, 0, 0, 7, 1, 0, 1, 0].to_vec();
    device.config.extend(mtu.to_le_bytes());
    match device.lie {
        Some(Lie::TakesBack) => device.offers |= VERSION_1,
        Some(Lie::Restless) => device.offers |= MAC,
        Some(Lie::MoreBuffers | Lie::NoBuffers) => device.offers |= 1 << MRG_RXBUF | GUEST_CSUM | GUEST_TSO,
        Some(Lie::BadConfig) => {
            device.offers |= MTU | MAC;
            match device.random.below(3) {
                0 => device.config.truncate(device.random.below(12)),
                _ => device.config[10..].copy_from_slice(&device.random.pick(&[0_u16, 1, 575]).to_le_bytes()),
            }
            device.count();
        }
        _ => device.changes.set(device.random.below(20) as u32),
    }
}

pub(super) fn round(fake: &Fake, irq: Irq) -> Outcome {
    let Ok(mut net) = VirtioNet::new(fake.clone(), irq.clone()) else {
        check_freed(&mut fake.0.borrow_mut());
        return Outcome::Noticed;
    };
    let mut random = Random::new(fake.0.borrow_mut().random.next(), 0);
    let mut kept = Kept::new();
    let mut received = 0;
    for turn in 0..8 + random.below(TURNS_MAX) {
        step(&mut net, &mut random, &mut kept, &mut received);
        match random.below(4) {
            0 => fake.0.borrow_mut().turn(),
            1 => fake.0.borrow_mut().scribble_all(),
            2 => irq.come(),
            _ => {}
        }
        if turn % 8 == 0 {
            kept.check(&fake.0.borrow());
        }
    }
    let is_honest = fake.0.borrow().lie.is_none();
    while is_honest && receive(&mut net, &mut random, &mut kept) {
        received += 1;
    }
    kept.check(&fake.0.borrow());
    assert!(!is_honest || received == fake.0.borrow().packets, "{received} packets came up, not all");
    let is_broken = net.is_broken();
    drop(net);
    check_freed(&mut fake.0.borrow_mut());
    kept.check(&fake.0.borrow());
    if is_broken { Outcome::Noticed } else { Outcome::Fine }
}

fn step(net: &mut VirtioNet<Fake>, random: &mut Random, kept: &mut Kept<Frame>, received: &mut u32) {
    match random.below(6) {
        0 | 1 => (0..random.below(16)).for_each(|_| *received += u32::from(receive(net, random, kept))),
        2 | 3 => (0..random.below(16)).for_each(|_| transmit(net, random)),
        4 => net.flush(),
        _ => drop(net.poll_ready(&mut Context::from_waker(Waker::noop()))),
    }
}

/// Receives a packet, if there is one, and looks at every byte.
fn receive(net: &mut VirtioNet<Fake>, random: &mut Random, kept: &mut Kept<Frame>) -> bool {
    let Some(frame) = net.receive() else { return false };
    assert!(frame.len() <= frame.capacity(), "a frame beyond its buffer");
    assert!(frame.rest().is_empty() || frame.total_len() <= PACKET_LEN_MAX, "a packet that is too long");
    assert!(frame.segmentation.is_none_or(|segmentation| segmentation.size > 0), "segments without bytes");
    assert!(!matches!(frame.checksum, Checksum::Partial { .. }), "a received frame with half a checksum");
    let sum = |frame: &Frame| frame.iter().fold(0_u64, |sum, byte| sum + u64::from(*byte));
    core::hint::black_box(sum(&frame) + frame.rest().iter().map(sum).sum::<u64>());
    if random.once_in(2) {
        kept.keep(frame, random);
    }
    true
}

fn transmit(net: &mut VirtioNet<Fake>, random: &mut Random) {
    let offloads = net.offloads();
    let is_cut = offloads.segmentation_v4 && random.once_in(2);
    let len_max = if is_cut { PACKET_LEN_MAX } else { net.mtu() + 18 };
    let mut frame = Frame::with_capacity(len_max);
    frame.resize(HEADERS_LEN + random.below(len_max - HEADERS_LEN + 1));
    if offloads.tx_checksum {
        frame.checksum = Checksum::Partial { start: 34, offset: 16 };
    }
    frame.segmentation = is_cut.then_some(Segmentation { size: 1448 });
    assert!(!is_cut || offloads.tx_checksum, "the port cuts packets, but does not sum");
    let _ = net.transmit(frame);
}
