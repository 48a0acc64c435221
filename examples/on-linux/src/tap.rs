//! A tap interface of Linux as a network port: the kernel's end is an interface, ours a file of Ethernet frames.

use anyhow::{Context as _, Result};
use mio::{Events, Interest, Poll as Selector, Token, unix::SourceFd};
use std::{
    cell::RefCell,
    io::{Error, ErrorKind},
    os::fd::AsRawFd,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tun::{AbstractDevice, Configuration, Device, Layer};
use unikernel_rt::{
    device::{Frame, NetDevice, Offloads},
    entropy,
};

/// Ethernet's header with a VLAN tag.
const HEADER_LEN_MAX: usize = 18;

/// The port.
// ANCHOR: tap
pub struct Tap {
    device: Device,
    mac: [u8; 6],
    mtu: usize,
    /// Received, and not taken yet.
    frame: Option<Frame>,
    /// The kernel took no more the last time.
    is_full: bool,
    shared: Rc<RefCell<Shared>>,
}

/// Tells the port's task when there is something to do.
pub struct TapEvents {
    selector: Selector,
    events: Events,
    shared: Rc<RefCell<Shared>>,
}

#[derive(Default)]
struct Shared {
    waker: Option<Waker>,
    /// There was room to send again.
    is_writable: bool,
}

impl TapEvents {
    /// Waits until something happens to the interface, or `left` is over.
    pub fn wait(&mut self, left: Option<Duration>) {
        match self.selector.poll(&mut self.events, left) {
            Err(error) if error.kind() != ErrorKind::Interrupted => panic!("a selector with one file: {error}"),
            // A timer, or a signal.
            Err(_) => return,
            Ok(()) if self.events.is_empty() => return,
            Ok(()) => {}
        }
        let mut shared = self.shared.borrow_mut();
        shared.is_writable |= self.events.iter().any(|event| event.is_writable());
        if let Some(waker) = shared.waker.take() {
            waker.wake();
        }
    }
}
// ANCHOR_END: tap

impl Tap {
    /// Opens an interface, and makes it first if there is none of this name and we may.
    pub fn open(name: &str) -> Result<(Tap, TapEvents)> {
        let mut configuration = Configuration::default();
        configuration.tun_name(name).layer(Layer::L2).platform_config(|linux| {
            linux.ensure_root_privileges(false);
        });
        let make = format!("make it with `ip tuntap add {name} mode tap user $USER` as root");
        let device =
            tun::create(&configuration).with_context(|| format!("cannot open the interface {name}; {make}"))?;
        let mtu = device.mtu().with_context(|| format!("cannot ask for the MTU of {name}"))?;
        device.set_nonblock()?;
        let selector = Selector::new()?;
        let both = Interest::READABLE | Interest::WRITABLE;
        selector.registry().register(&mut SourceFd(&device.as_raw_fd()), Token(0), both)?;
        let shared = Rc::<RefCell<Shared>>::default();
        let events = TapEvents { selector, events: Events::with_capacity(1), shared: shared.clone() };
        Ok((Tap { device, mac: own_mac(), mtu: mtu.into(), frame: None, is_full: false, shared }, events))
    }

    fn read(&self) -> Option<Frame> {
        let len_max = self.mtu + HEADER_LEN_MAX;
        let mut frame = Frame::with_capacity(len_max);
        frame.resize(len_max);
        // An error is none to us: an interface that is down, or gone, brings nothing.
        let len = self.device.recv(&mut frame).ok()?;
        frame.resize(len);
        Some(frame)
    }
}

/// One that nobody gave out (IEEE 802c: the second lowest bit of the first byte).
fn own_mac() -> [u8; 6] {
    let mut mac = [0; 6];
    entropy::fill(&mut mac);
    mac[0] = mac[0] & 0xfc | 2;
    mac
}

impl NetDevice for Tap {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn mtu(&self) -> usize {
        self.mtu
    }

    fn offloads(&self) -> Offloads {
        Offloads::default()
    }

    fn receive(&mut self) -> Option<Frame> {
        self.frame.take().or_else(|| self.read())
    }

    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        match self.device.send(&frame) {
            Err(error) if would_block(&error) => {
                self.is_full = true;
                self.shared.borrow_mut().is_writable = false;
                Err(frame)
            }
            // Ethernet loses frames, too: on an interface that is down, all of them.
            _ => Ok(()),
        }
    }

    fn flush(&mut self) {}

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.frame.is_none() {
            self.frame = self.read();
        }
        if self.frame.is_some() {
            return Poll::Ready(());
        }
        let mut shared = self.shared.borrow_mut();
        if self.is_full && shared.is_writable {
            self.is_full = false;
            return Poll::Ready(());
        }
        // Events are edges: all that was there has been read, so the next is one after this.
        shared.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn would_block(error: &Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}
