//! What once went wrong, each in rounds of its own.

use super::super::{super::interrupts::Irq, net::VirtioNet};
use super::{
    device::{Fake, Kind},
    lies::{Counts, Lie},
    plan,
    random::Random,
    round,
};
use crate::{device::NetDevice, platform::console_line, task::yield_now};
use alloc::rc::Rc;
use core::cell::RefCell;

const ROUNDS: u64 = 24;

/// The device lies so in each of some rounds: the driver notices, and nothing else happens.
async fn case(name: &str, kind: Kind, lie: Lie, irq: &Irq) {
    console_line(format_args!("fuzz case: {name}"));
    let mut counts = Counts::default();
    for number in 0..ROUNDS {
        round(kind, Random::new(0, number), Some(lie), irq, &mut counts);
        yield_now().await;
    }
    let (told, noticed) = counts.of(lie);
    assert!(told > 0 && noticed > 0, "{name}: told {told} times, noticed in {noticed} rounds");
}

pub(super) async fn net(irq: &Irq) {
    case("a port whose configuration never holds still was read for ever", Kind::Net, Lie::Restless, irq).await;
    case("a port that takes its features back was used all the same", Kind::Net, Lie::TakesBack, irq).await;
    case("buffers of a port that does not reset were used again", Kind::Net, Lie::KeepsMemory, irq).await;
    case("frames were taken from a port that was shown no buffers for them", Kind::Net, Lie::Ahead, irq).await;
    an_offer_is_read_once(irq);
}

pub(super) async fn block(irq: &Irq) {
    case("a disk whose configuration never holds still was read for ever", Kind::Block, Lie::Restless, irq).await;
    case("a queue was freed before the disk with a bad configuration was reset", Kind::Block, Lie::BadConfig, irq)
        .await;
}

pub(super) async fn rng(irq: &Irq) {
    case("a buffer was freed while the source still had it", Kind::Rng, Lie::UnknownId, irq).await;
    case("a source that takes its features back was used all the same", Kind::Rng, Lie::TakesBack, irq).await;
    case("more random bytes than were asked for were believed", Kind::Rng, Lie::TooLong, irq).await;
}

/// Those that need no device.
pub(super) fn of(cases: &[(&str, fn())]) {
    for (name, case) in cases {
        console_line(format_args!("fuzz case: {name}"));
        case();
    }
}

/// A second offer that fits less would leave the stack with segments to be cut, and no sums for them: it would panic.
fn an_offer_is_read_once(irq: &Irq) {
    const CSUM: u64 = 1;
    const HOST_TSO4: u64 = 1 << 11;
    console_line(format_args!("fuzz case: a second offer of features was mixed with the first"));
    for number in 0..ROUNDS {
        let mut device = plan(Kind::Net, Random::new(0, number), None);
        device.offers = CSUM | HOST_TSO4;
        let net = VirtioNet::new(Fake(Rc::new(RefCell::new(device))), irq.clone());
        let offloads = net.map(|net| net.offloads()).expect("the device keeps the rules");
        assert!(offloads.tx_checksum && offloads.segmentation_v4 && !offloads.rx_checksum, "{offloads:?}");
    }
}
