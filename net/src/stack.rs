//! The network port as an application sees it: [`Stack`].

use crate::{
    config::{Config, Ipv4Cidr},
    error::{ConnectError, ListenError},
    limits::EPHEMERAL_PORTS,
    listener::Listener,
    net::{Net, News, Secrets},
    stats::Stats,
    stream::{Handle, Stream},
};
use alloc::{boxed::Box, rc::Rc};
use core::{
    cell::RefCell,
    future::{Future, poll_fn},
    net::SocketAddrV4,
    pin::{Pin, pin},
    task::{Context, Poll},
};
use unikernel_rt::{
    Acquire, Machine, Result,
    device::NetDevice,
    entropy, heap,
    log::{info, warn},
    sync::Notify,
    time::{Instant, Sleep, sleep_until},
};

/// TCP/IP over one network port. Clones are handles to the same stack.
///
/// As an argument of `main` it takes the next network port and the boot arguments `ip=ADDR/LEN`, `gw=ADDR`
/// and `net.connections=N`; without `ip=` it asks a DHCP server.
#[derive(Clone)]
pub struct Stack {
    shared: Rc<Shared>,
}

/// What handles and the stack's task share.
pub(crate) struct Shared {
    pub(crate) net: RefCell<Net>,
    configured: Notify,
}

impl Acquire for Stack {
    fn acquire(machine: &mut Machine) -> Result<Stack> {
        let config = Config::from_boot_args()?;
        Ok(Stack::new(machine.take_net()?, config))
    }
}

impl Stack {
    /// Starts a stack on `device`, with a task of its own that lives as long as the machine.
    pub fn new(device: Box<dyn NetDevice>, config: Config) -> Stack {
        let secrets = Secrets { hash: [entropy::u64(), entropy::u64()], engine: [entropy::u64(), entropy::u64()] };
        let net = Net::new(device, config, heap::stats().total, secrets, Instant::now());
        if let Some(address) = net.address() {
            info!("network: address {}", Text(&address));
        }
        let shared = Rc::new(Shared { net: RefCell::new(net), configured: Notify::new() });
        unikernel_rt::spawn(drive(shared.clone()));
        Stack { shared }
    }

    /// Begins to accept connections to `port`, on whatever address the machine has or gets. Port 0 takes a
    /// free one ([`Listener::local_port`] tells).
    ///
    /// # Errors
    ///
    /// There is a listener on that port.
    pub fn listen(&self, port: u16) -> Result<Listener, ListenError> {
        let mut net = self.shared.net.borrow_mut();
        let port = match port {
            0 => EPHEMERAL_PORTS.into_iter().find(|port| net.listen(*port).is_ok()).ok_or(ListenError::PortInUse(0))?,
            port => {
                net.listen(port)?;
                port
            }
        };
        Ok(Listener::new(self.shared.clone(), port))
    }

    /// Connects to `peer`. Dropping the future gives up.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn connect(&self, peer: SocketAddrV4) -> Result<Stream, ConnectError> {
        let id = self.shared.net.borrow_mut().connect(peer, entropy::u64, Instant::now())?;
        let handle = Handle::new(self.shared.clone(), id);
        poll_fn(|cx| self.shared.net.borrow_mut().poll_connect(id, cx.waker())).await?;
        Ok(Stream::new(handle))
    }

    /// Waits until the machine has an address. Nothing needs it to listen. Cancel safe.
    pub async fn configured(&self) {
        while self.address().is_none() {
            self.shared.configured.notified().await;
        }
    }

    /// The machine's address, while it has one.
    pub fn address(&self) -> Option<Ipv4Cidr> {
        self.shared.net.borrow().address()
    }

    /// What happened so far. Counting the states looks at every connection: not for every request.
    pub fn stats(&self) -> Stats {
        self.shared.net.borrow().stats()
    }
}

/// The stack's task.
async fn drive(shared: Rc<Shared>) {
    let mut alarm = Alarm { sleep: pin!(sleep_until(Instant::FOREVER)), armed: Instant::FOREVER, started: false };
    poll_fn(|cx| turn(&shared, &mut alarm, cx)).await
}

/// Turns until there is nothing to do, with a pause for the other tasks after each.
fn turn(shared: &Shared, alarm: &mut Alarm<'_>, cx: &mut Context<'_>) -> Poll<()> {
    let now = Instant::now();
    let mut net = shared.net.borrow_mut();
    net.stay_awake();
    let more = net.turn(now);
    if let Some(news) = net.lease_turn(now) {
        tell(news);
        shared.configured.notify_all();
    }
    // Reading `more` first: there is no need to arm the interrupt when the next turn comes anyway.
    if more || net.poll_device(cx).is_ready() || alarm.set(net.next_moment(), now, cx).is_ready() {
        cx.waker().wake_by_ref();
    } else {
        net.sleep(cx.waker());
    }
    Poll::Pending
}

fn tell(news: News) {
    match news {
        News::Address(address, Some(gateway)) => {
            info!("network: address {} by DHCP, gateway {}", Text(&address), Text(&gateway))
        }
        News::Address(address, None) => info!("network: address {} by DHCP, no gateway", Text(&address)),
        News::AddressLost => warn!("network: the DHCP lease ended; asking for a new one"),
        News::NoDhcpAnswer => {
            warn!("network: no DHCP answer yet; still asking. Give a static address with ip=ADDR/LEN")
        }
    }
}

use unikernel_rt::log::Display2Format as Text;

/// One timer for all of the stack, moved only when something is due earlier.
struct Alarm<'a> {
    sleep: Pin<&'a mut Sleep>,
    armed: Instant,
    started: bool,
}

impl Alarm<'_> {
    /// Ready when `at` has come; otherwise the task is woken then, or before.
    fn set(&mut self, at: Instant, now: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if at <= now {
            return Poll::Ready(());
        }
        let armed = self.started && self.armed > now && self.armed <= at;
        if armed {
            return Poll::Pending;
        }
        self.started = true;
        self.armed = at;
        self.sleep.as_mut().get_mut().reset(at);
        self.sleep.as_mut().poll(cx)
    }
}
