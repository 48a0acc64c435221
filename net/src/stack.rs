//! The network as an application sees it: [`Stack`].

use crate::{
    capture::{Capture, Filter},
    config::Config,
    error::{ConnectError, ListenError},
    limits::{DRAIN_TIME_MAX, EPHEMERAL_PORTS},
    listener::Listener,
    metrics,
    names::Names,
    net::{Net, News, Secrets},
    numbers::{Numbers, Source},
    sockets::SocketPage,
    stats::{FlowCounts, Stats},
    stream::{Handle, Stream},
    udp::UdpSocket,
};
use alloc::{boxed::Box, rc::Rc, vec, vec::Vec};
use core::{
    cell::RefCell,
    fmt,
    future::{Future, poll_fn},
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    task::{Context, Poll},
};
use unikernel_rt::{
    Acquire, Machine, Result, crash,
    device::NetDevice,
    entropy, heap, lifecycle,
    log::{Display2Format as Text, info, warn},
    sync::Notify,
    task::wait_for,
    time::{Instant, Sleep, sleep_until, timeout},
};

/// TCP and UDP over all network ports of a machine. Clones are handles to the same stack.
///
/// As an argument of `main` it takes all network ports, and the boot arguments that
/// [`Config::from_boot_args`] names; without them it asks DHCP servers and routers.
///
/// In tests two of them are joined by a simulated cable:
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_net::{Config, Read, Stack, Write};
/// use unikernel_rt::sim::{Faults, cable};
///
/// let (left, right) = cable(Faults::NONE);
/// let client = Stack::new(Box::new(left), Config::fixed("10.0.0.1/24".parse()?));
/// let server = Stack::new(Box::new(right), Config::fixed("10.0.0.2/24".parse()?));
///
/// let mut listener = server.listen(7)?;
/// let mut near = client.connect("10.0.0.2:7".parse()?).await?;
/// let mut far = listener.accept().await;
/// near.write_all(b"hello").await?;
/// let mut bytes = [0; 5];
/// far.read_exact(&mut bytes).await?;
/// assert_eq!(&bytes, b"hello");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Stack {
    pub(crate) shared: Rc<Shared>,
    pub(crate) names: Names,
}

/// What handles and the stack's task share.
pub(crate) struct Shared {
    pub(crate) net: RefCell<Net>,
    /// Something about the machine's addresses changed.
    pub(crate) configured: Notify,
}

impl Acquire for Stack {
    async fn acquire(machine: &mut Machine) -> Result<Stack> {
        let mut devices = vec![machine.take_net()?];
        while let Ok(device) = machine.take_net() {
            devices.push(device);
        }
        let config = Config::from_boot_args(devices.len())?;
        Ok(Stack::with_ports(devices, config))
    }
}

impl Stack {
    /// Starts a stack on `device`, with a task of its own that lives as long as the machine.
    pub fn new(device: Box<dyn NetDevice>, config: Config) -> Stack {
        Stack::with_ports(vec![device], config)
    }

    /// The same on several network ports.
    pub fn with_ports(devices: Vec<Box<dyn NetDevice>>, config: Config) -> Stack {
        let source = Source { random: entropy::u64, generation: entropy::generation };
        let secrets = Secrets { table: [entropy::u64(), entropy::u64()], numbers: Numbers::draw(source) };
        let net = Net::new(devices, &config, heap::stats().total, secrets, Instant::now(), &mut entropy::u64);
        let shared = Rc::new(Shared { net: RefCell::new(net), configured: Notify::of("an address of this machine") });
        let (name, weak) = ("network", Rc::downgrade(&shared));
        crash::add_section(name, move |out| weak.upgrade().map_or(Ok(()), |shared| summary(&shared, out)));
        let names = Names::start(&shared, &config.ntp);
        metrics::start(&shared);
        unikernel_rt::spawn_named("network", drive(shared.clone(), names.clone()));
        let drained = shared.clone();
        lifecycle::on_stop(move || drain(drained));
        Stack { shared, names }
    }

    /// Begins to accept connections to `port`, on whatever addresses the machine has or gets. Port 0 takes a
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
    pub async fn connect(&self, peer: SocketAddr) -> Result<Stream, ConnectError> {
        connect(&self.shared, peer).await
    }

    /// A socket for datagrams on `port`; 0 takes a random free one ([`UdpSocket::local_port`] tells).
    ///
    /// # Errors
    ///
    /// There is a socket on that port, or the port belongs to DHCP.
    pub fn udp(&self, port: u16) -> Result<UdpSocket, ListenError> {
        bind(&self.shared, port)
    }

    /// Waits until the machine has an address that others know. Nothing needs it to listen. Cancel safe.
    pub async fn configured(&self) {
        while !self.shared.net.borrow().is_configured() {
            self.shared.configured.notified().await;
        }
    }

    /// Waits until the machine has an IPv4 address; for ever where the network gives it none. Cancel safe.
    pub async fn configured_v4(&self) {
        while !self.addresses().iter().any(IpAddr::is_ipv4) {
            self.shared.configured.notified().await;
        }
    }

    /// The machine's addresses now, without those that count on one link only.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.shared.net.borrow().addresses()
    }

    /// What happened so far. Counting the states looks at every connection: not for every request.
    pub fn stats(&self) -> Stats {
        self.shared.net.borrow().stats()
    }

    /// Up to `max` sockets, beginning at 0 or where the [last page](SocketPage::next) ended. A bounded amount of work; a page
    /// may be short, or empty, and yet not be the last. What is there all the time is on one page exactly.
    pub fn sockets(&self, from: u64, max: usize) -> SocketPage {
        self.shared.net.borrow().sockets(from, max)
    }

    /// Whether there is a connection between port `local` of this machine and `peer`, and neither side has ended it.
    pub fn is_connected(&self, local: u16, peer: SocketAddr) -> bool {
        self.shared.net.borrow().is_connected(local, peer)
    }

    /// Captures the frames that fit `filter`, and of each the first `snap_len` bytes.
    pub fn capture(&self, filter: Filter, snap_len: usize) -> Capture {
        Capture::start(&self.shared, filter, snap_len)
    }
}

/// What a crash report says about the network.
fn summary(shared: &Shared, out: &mut dyn fmt::Write) -> fmt::Result {
    let Ok(net) = shared.net.try_borrow() else { return out.write_str("it was just being used") };
    let Stats { flows, by_state, time_wait, frames_in, frames_out, drops, window_memory, .. } = net.stats();
    let FlowCounts { connecting, half_open, queued, owned, orphaned } = by_state;
    writeln!(
        out,
        "{flows} flows ({owned} owned, {queued} queued, {connecting} connecting, {orphaned} without an owner)"
    )?;
    writeln!(out, "{half_open} half-open, {time_wait} in TIME-WAIT, {window_memory} bytes promised by windows")?;
    write!(out, "{frames_in} frames in, {frames_out} out, {} dropped for want of room", drops.no_room)
}

/// See [`Stack::connect`].
pub(crate) async fn connect(shared: &Rc<Shared>, peer: SocketAddr) -> Result<Stream, ConnectError> {
    let id = shared.net.borrow_mut().connect(peer, entropy::u64, Instant::now())?;
    let handle = Handle::new(shared.clone(), id);
    poll_fn(|cx| shared.net.borrow_mut().poll_connect(id, cx.waker())).await?;
    Ok(Stream::new(handle))
}

/// See [`Stack::udp`].
pub(crate) fn bind(shared: &Rc<Shared>, port: u16) -> Result<UdpSocket, ListenError> {
    let (id, port) = shared.net.borrow_mut().bind(port, entropy::u64)?;
    Ok(UdpSocket::new(shared.clone(), id, port))
}

/// Waits at the end of a stop until the last bytes of closed connections have arrived.
async fn drain(shared: Rc<Shared>) {
    let drained = poll_fn(|cx| shared.net.borrow_mut().poll_drained(cx.waker()));
    if timeout(DRAIN_TIME_MAX, drained).await.is_err() {
        warn!("network: some connections end before their last bytes have arrived");
    }
}

/// The stack's task.
async fn drive(shared: Rc<Shared>, names: Names) {
    let mut alarm = Alarm { sleep: pin!(sleep_until(Instant::FOREVER)), armed: Instant::FOREVER, started: false };
    poll_fn(|cx| turn(&shared, &names, &mut alarm, cx)).await
}

/// Turns until there is nothing to do, with a pause for the other tasks after each.
fn turn(shared: &Shared, names: &Names, alarm: &mut Alarm<'_>, cx: &mut Context<'_>) -> Poll<()> {
    let now = Instant::now();
    let mut net = shared.net.borrow_mut();
    net.stay_awake();
    net.set_free_memory(heap::free());
    let more = net.turn(now, &mut entropy::u64);
    while let Some(news) = net.news() {
        tell(&news);
        names.configure(&net);
        shared.configured.notify_all();
    }
    // Reading `more` first: there is no need to arm the interrupt when the next turn comes anyway.
    if more || net.poll_devices(cx).is_ready() || alarm.set(net.next_moment(), now, cx).is_ready() {
        cx.waker().wake_by_ref();
    } else {
        net.sleep(cx.waker());
    }
    wait_for("the network");
    Poll::Pending
}

fn tell(news: &News) {
    match news {
        News::Address(address) => info!("network: address {}", Text(address)),
        News::AddressLost(address) => warn!("network: address {} is gone, and connections with it", Text(address)),
        News::Conflict(address) => warn!("network: another machine has the address {}; it is not used", Text(address)),
        News::Services => {}
        News::NoAddress => {
            warn!(
                "network: no DHCP server and no router answers; still asking. Give a static address with ip=ADDR/LEN or ip6=ADDR/LEN"
            )
        }
        News::Memory { is_low: true, free } => {
            warn!("network: {} bytes of memory are left; new connections wait until there is more", *free as u64)
        }
        News::Memory { is_low: false, free } => {
            info!("network: {} bytes of memory are free; new connections are accepted again", *free as u64)
        }
    }
}

/// One timer for all of the stack, moved only when something is due earlier.
struct Alarm<'a> {
    sleep: Pin<&'a mut Sleep>,
    armed: Instant,
    started: bool,
}

impl Alarm<'_> {
    /// Ready when `at` has come; otherwise the task is woken then, or before.
    #[inline]
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
