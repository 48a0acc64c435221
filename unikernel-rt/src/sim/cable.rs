//! A cable between two network ports, or a hub of more, with a fault plan.

use super::{Nic, Pcap, Random};
use crate::{
    device::{FRAME_LEN_DEFAULT, Frame, NetDevice, Offloads},
    time::{Duration, Instant, Sleep, sleep_until},
};
use core::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use std::{boxed::Box, collections::BTreeMap, rc::Rc, vec::Vec};

/// What an Ethernet header and a VLAN tag add to the MTU.
const ETHERNET_HEADER_MAX: usize = FRAME_LEN_DEFAULT - 1500;

/// What goes wrong on a cable. Chances are per mille and apply to each frame on its way to each receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// How long every frame takes.
    pub delay: Duration,
    /// Up to how much longer a frame may take, at random; frames overtake each other if it exceeds their distance.
    pub jitter: Duration,
    /// Frames that vanish.
    pub loss: u16,
    /// Frames that come twice.
    pub duplicate: u16,
    /// Frames held back by three delays, so that later ones overtake them.
    pub reorder: u16,
    /// Frames in which one bit flips.
    pub corrupt: u16,
    /// Chooses which frames.
    pub seed: u64,
    /// The MTU of both ports.
    pub mtu: usize,
    /// Frames in flight per direction; more are dropped, as by a switch whose queue is full.
    pub queue: usize,
}

impl Faults {
    /// A perfect cable without delay.
    pub const NONE: Faults = Faults {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: 0,
        duplicate: 0,
        reorder: 0,
        corrupt: 0,
        seed: 1,
        mtu: 1500,
        queue: 1000,
    };
}

/// Two ports joined by a cable.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_rt::{device::{Frame, NetDevice}, sim::{Faults, cable}, time::{Duration, Instant}};
/// use std::future::poll_fn;
///
/// let (mut one, mut other) = cable(Faults { delay: Duration::from_millis(20), ..Faults::NONE });
/// assert!(one.transmit(Frame::from_bytes(&[0xff; 60])).is_ok());
/// one.flush();
/// assert!(other.receive().is_none());
/// poll_fn(|cx| other.poll_ready(cx)).await;
/// assert_eq!(other.receive().map(|frame| frame.len()), Some(60));
/// assert_eq!(Instant::now(), Instant::from_millis(20));
/// # });
/// ```
pub fn cable(faults: Faults) -> (SimPort, SimPort) {
    let mut ports = hub(2, faults).into_iter();
    match (ports.next(), ports.next()) {
        (Some(left), Some(right)) => (left, right),
        _ => unreachable!("there are two"),
    }
}

/// Ports joined by a hub: what one sends all others receive.
pub fn hub(ports: usize, faults: Faults) -> Vec<SimPort> {
    let cable = Rc::new(RefCell::new(Cable {
        faults,
        random: Random::new(faults.seed),
        directions: (0..ports).map(|_| Direction::default()).collect(),
        sent: 0,
        pcap: None,
    }));
    (0..ports).map(|side| SimPort { cable: cable.clone(), side, nic: Nic::PLAIN, alarm: None }).collect()
}

struct Cable {
    faults: Faults,
    random: Random,
    /// By the side that receives.
    directions: Vec<Direction>,
    sent: u64,
    pcap: Option<Pcap>,
}

#[derive(Default)]
struct Direction {
    /// By arrival, then by the order of sending.
    in_flight: BTreeMap<(Instant, u64), Frame>,
    receiver: Option<Waker>,
}

impl Direction {
    /// Takes the next frame if it has arrived by `now` and is one that is wanted.
    fn arrived(&mut self, now: Instant, wanted: &dyn Fn(&Frame) -> bool) -> Option<Frame> {
        let first = self.in_flight.first_entry()?;
        (first.key().0 <= now && wanted(first.get())).then(|| first.remove())
    }
}

/// One end of a [`cable`] or port of a [`hub`].
pub struct SimPort {
    cable: Rc<RefCell<Cable>>,
    side: usize,
    nic: Nic,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl SimPort {
    /// Writes every frame that is sent on the cable, in both directions, to a capture file.
    ///
    /// # Errors
    ///
    /// The file cannot be created.
    pub fn record(&self, path: impl AsRef<std::path::Path>) -> std::io::Result<()> {
        self.cable.borrow_mut().pcap = Some(Pcap::create(path)?);
        Ok(())
    }

    /// The same port with these abilities.
    pub fn with_nic(self, nic: Nic) -> SimPort {
        SimPort { nic, ..self }
    }

    /// Changes the fault plan from now on, in all directions. Frames in flight are not affected.
    pub fn set_faults(&self, faults: Faults) {
        let mut cable = self.cable.borrow_mut();
        cable.faults = faults;
        cable.random = Random::new(faults.seed);
    }
}

impl Cable {
    fn send(&mut self, from: usize, frame: Frame) {
        let len_max = self.faults.mtu + ETHERNET_HEADER_MAX;
        assert!(frame.len() <= len_max, "a frame of {} bytes on an MTU of {}", frame.len(), self.faults.mtu);
        if let Some(pcap) = &mut self.pcap {
            pcap.write(Instant::now(), &frame).expect("the capture file can be written");
        }
        for to in (0..self.directions.len()).filter(|to| *to != from) {
            self.carry(to, frame.duplicate());
        }
    }

    fn carry(&mut self, to: usize, mut frame: Frame) {
        let now = Instant::now();
        let Faults { loss, duplicate, corrupt, .. } = self.faults;
        if self.random.chance(loss) {
            return;
        }
        if self.random.chance(corrupt) && !frame.is_empty() {
            let bit = self.random.below(frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        if self.random.chance(duplicate) {
            self.deliver(to, now, frame.duplicate());
        }
        self.deliver(to, now, frame);
    }

    fn deliver(&mut self, to: usize, now: Instant, frame: Frame) {
        let Faults { delay, jitter, reorder, queue, .. } = self.faults;
        let mut arrival = now + delay;
        if !jitter.is_zero() {
            arrival += Duration::from_micros(self.random.below(jitter.as_micros() as usize) as u64);
        }
        if self.random.chance(reorder) {
            arrival += delay.max(Duration::from_micros(10)) * 3;
        }
        let direction = &mut self.directions[to];
        if direction.in_flight.len() < queue {
            self.sent += 1;
            direction.in_flight.insert((arrival, self.sent), frame);
        }
        if let Some(waker) = direction.receiver.take() {
            waker.wake();
        }
    }
}

impl NetDevice for SimPort {
    fn mac(&self) -> [u8; 6] {
        [0x02, 0, 0, 0, 0, 1 + self.side as u8]
    }

    fn mtu(&self) -> usize {
        self.cable.borrow().faults.mtu
    }

    fn offloads(&self) -> Offloads {
        self.nic.offloads()
    }

    fn receive(&mut self) -> Option<Frame> {
        let now = Instant::now();
        let direction = &mut self.cable.borrow_mut().directions[self.side];
        let frame = direction.arrived(now, &|_| true)?;
        Some(self.nic.receive(frame, |wanted| direction.arrived(now, wanted)))
    }

    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        let mut cable = self.cable.borrow_mut();
        self.nic.send(frame).into_iter().for_each(|frame| cable.send(self.side, frame));
        Ok(())
    }

    fn flush(&mut self) {}

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let next = {
            let direction = &mut self.cable.borrow_mut().directions[self.side];
            direction.receiver = Some(cx.waker().clone());
            direction.in_flight.first_key_value().map(|(&(arrival, _), _)| arrival)
        };
        let Some(arrival) = next else { return Poll::Pending };
        let mut alarm = Box::pin(sleep_until(arrival));
        let due = alarm.as_mut().poll(cx);
        self.alarm = due.is_pending().then_some(alarm);
        due
    }
}
