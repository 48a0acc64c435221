//! [`serve`], and [`Server`] for those who want limits or an end.

use crate::{
    Limits, Router,
    connection::Connection,
    metrics::{self, Stats},
    out::Out,
    response::write::Start,
};
use alloc::{rc::Rc, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    future::Future,
    net::SocketAddr,
    pin::pin,
    task::Waker,
};
use embedded_io_async::{Read, Write};
use futures_util::future::{Either, select};
use slab::Slab;
use unikernel_rt::{
    lifecycle,
    log::warn,
    spawn_named,
    sync::Notify,
    task::{JoinHandle, waiting_for},
    time::{Duration, Instant, timeout},
};

/// Where connections come from.
pub trait Accept {
    /// The byte stream of a connection. Dropping it ends the connection after what was written has been sent.
    type Stream: Read + Write + 'static;

    /// Waits for a connection. Dropping the future loses none.
    fn accept(&mut self) -> impl Future<Output = Self::Stream>;

    /// Lets nobody in any more who has not begun to come in. Nothing, by default.
    fn close(&mut self) {}

    /// Who is at the other end, for [`Request::peer`](crate::Request::peer). Nobody knows, by default.
    fn peer(stream: &Self::Stream) -> Option<SocketAddr> {
        let _ = stream;
        None
    }
}

impl Accept for unikernel_net::Listener {
    type Stream = unikernel_net::Stream;

    async fn accept(&mut self) -> unikernel_net::Stream {
        unikernel_net::Listener::accept(self).await
    }

    fn close(&mut self) {
        unikernel_net::Listener::close(self);
    }

    fn peer(stream: &unikernel_net::Stream) -> Option<SocketAddr> {
        Some(stream.peer())
    }
}

/// Serves `router` on every connection of `listener`, with the default [`Limits`], until the machine is asked to stop
/// ([`lifecycle`]): then no request that has come is lost. It never fails; the result makes it the last line of `main`.
#[allow(clippy::missing_errors_doc)]
pub async fn serve(listener: impl Accept, router: Router) -> unikernel_rt::Result {
    Server::new(router).serve(listener).await;
    Ok(())
}

/// Who comes in next, with or without what the server needs to let them in.
pub(crate) trait Door {
    type Guest;

    async fn next(&mut self) -> (Self::Guest, Option<SocketAddr>);

    /// See [`Accept::close`].
    fn close(&mut self);
}

struct Plain<A>(A);

impl<A: Accept> Door for Plain<A> {
    type Guest = A::Stream;

    async fn next(&mut self) -> (A::Stream, Option<SocketAddr>) {
        let stream = self.0.accept().await;
        let peer = A::peer(&stream);
        (stream, peer)
    }

    fn close(&mut self) {
        self.0.close();
    }
}

/// A router with limits, and the connections it is served on. Clones are the same server. See [`Limits`] for one that is
/// asked.
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_http::{Accept, Limits, Router, Server};
/// use unikernel_rt::time::Duration;
///
/// async fn serve_for_a_day(listener: impl Accept + 'static, router: Router) {
///     let limits = Limits { head_len_max: 4096, ..Limits::default() };
///     let server = Server::with_limits(router, limits);
///     let accepting = { let server = server.clone(); unikernel_rt::spawn(async move { server.serve(listener).await }) };
///     unikernel_rt::time::sleep(Duration::from_secs(86_400)).await;
///     server.shutdown(Duration::from_secs(10)).await;
///     accepting.await;
/// }
/// # let router = Router::new();
#[doc = include_str!("served.md")]
/// # let router = Router::new().route("/", unikernel_http::get(async || "open"));
/// # unikernel_rt::spawn(serve_for_a_day(server.listen(8080)?, router));
/// # assert_eq!(client.get("http://10.0.0.2:8080/").send().await?.text().await?, "open");
/// # unikernel_rt::time::sleep(Duration::from_secs(86_411)).await;
/// # assert!(client.get("http://10.0.0.2:8080/").send().await.is_err());
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Server(pub(crate) Rc<Shared>);

/// What the connections of a server share.
pub(crate) struct Shared {
    pub(crate) router: Router,
    pub(crate) limits: Limits,
    /// The start of the next response: status line and date.
    pub(crate) start: RefCell<Start>,
    /// Memory for responses that nobody uses now. One piece, as nearly every response is written at once.
    spare: Cell<Out>,
    connections: RefCell<Slab<Entry>>,
    is_stopping: Cell<bool>,
    /// When idle connections end, while it stops.
    idle_end: Cell<Instant>,
    pub(crate) stop: Notify,
    empty: Notify,
    pub(crate) stats: Stats,
}

/// A connection, as far as the server has to reach it.
#[derive(Default)]
struct Entry {
    /// Wakes it while it is idle.
    waker: Option<Waker>,
    task: Option<JoinHandle<()>>,
}

/// A buffer that has grown beyond this is given back to the heap.
const SPARE_LEN_MAX: usize = 32 * 1024;

impl Server {
    /// A server with the default limits.
    pub fn new(router: Router) -> Server {
        Server::with_limits(router, Limits::default())
    }

    /// A server with other limits.
    pub fn with_limits(router: Router, limits: Limits) -> Server {
        let server = Server::unlisted(router, limits);
        metrics::start(&server.0);
        server
    }

    /// A server whose numbers are on no page.
    fn unlisted(router: Router, limits: Limits) -> Server {
        assert!(limits.head_len_max <= 60 * 1024, "Limits::head_len_max is more than 60 KiB");
        Server(Rc::new(Shared {
            stats: Stats::new(router.patterns()),
            router,
            limits,
            start: RefCell::new(Start::new()),
            spare: Cell::default(),
            connections: RefCell::default(),
            is_stopping: Cell::new(false),
            idle_end: Cell::new(Instant::FOREVER),
            stop: Notify::of("the stop of the server"),
            empty: Notify::of("the end of the connections"),
        }))
    }

    /// Serves every connection of `listener`, each in a task of its own, until [`shutdown`](Self::shutdown), or until the
    /// machine is asked to stop ([`lifecycle`]). A stop lets nobody in who has not begun to come in, answers every request
    /// that comes within [half a second](Limits::STOP_LINGER) with `Connection: close`, closes connections that are idle
    /// then, and waits for requests in flight, for three quarters of the [time that is left](lifecycle::time_left); then it cuts
    /// them off.
    pub async fn serve(&self, listener: impl Accept) {
        let start = |(stream, registration)| Server::run(self.0.clone(), stream, registration);
        self.accept_all("http connection", Plain(listener), start).await;
    }

    /// Runs `start` in a task of its own for everybody who comes, until a shutdown or a stop.
    pub(crate) async fn accept_all<D: Door, F>(
        &self,
        task: &'static str,
        mut door: D,
        start: impl Fn((D::Guest, Registration)) -> F,
    ) where
        F: Future<Output = ()> + 'static,
    {
        let let_in = |(guest, peer)| {
            let registration = Registration::new(&self.0, peer);
            let slot = registration.slot;
            self.0.keep_task(slot, spawn_named(task, start((guest, registration))));
        };
        let mut stopping = pin!(lifecycle::stopping());
        let busy = loop {
            // At a stop of the machine another listener of this server may have been the first to hear of it.
            if self.0.is_stopping() && !lifecycle::is_stopping() {
                return;
            }
            let (next, shutdown) = (pin!(door.next()), pin!(self.0.stop.notified()));
            let come = select(next, select(stopping.as_mut(), shutdown));
            match waiting_for("a connection", come).await {
                Either::Left((guest, _)) => let_in(guest),
                Either::Right((Either::Left((busy, _)), _)) => break busy,
                Either::Right((Either::Right(_), _)) => return,
            }
        };
        door.close();
        // A quarter of a short time is for those who are on their way, the rest for requests in flight.
        let linger_time = Limits::STOP_LINGER.min(lifecycle::time_left() / 4);
        self.0.begin_stop(Instant::now() + linger_time);
        let linger = async {
            loop {
                let_in(door.next().await);
            }
        };
        let _ = timeout(linger_time, linger).await;
        drop(door);
        self.wait_or_abort(lifecycle::time_left() * 3 / 4).await;
        drop(busy);
    }

    /// Serves one connection until it ends. A read that is dropped must not lose bytes, as `embedded_io_async` asks.
    pub async fn serve_connection<S: Read + Write>(&self, stream: S) {
        let registration = Registration::new(&self.0, None);
        Server::run(self.0.clone(), stream, registration).await;
    }

    async fn run<S: Read + Write>(shared: Rc<Shared>, stream: S, registration: Registration) {
        // However it ended, the stream is dropped, and with that closed.
        let _ = Connection::new(stream, shared, registration).run().await;
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.0.connections.borrow().len()
    }

    /// Ends [`serve`](Self::serve), closes idle connections, and waits until the others have answered their request;
    /// those that are not done after `grace` are cut off.
    pub async fn shutdown(&self, grace: Duration) {
        self.0.begin_stop(Instant::now());
        self.wait_or_abort(grace).await;
    }

    /// Waits until all connections have ended; cuts off those that are left after `grace`.
    async fn wait_or_abort(&self, grace: Duration) {
        let empty = async {
            while self.connections() > 0 {
                self.0.empty.notified().await;
            }
        };
        if timeout(grace, empty).await.is_err() {
            warn!("http: {} connections are cut off, whose requests are not answered in time", self.connections());
            self.abort_all();
        }
    }

    fn abort_all(&self) {
        // Their end changes the list, so the handles are taken out first.
        let tasks: Vec<_> =
            self.0.connections.borrow_mut().iter_mut().filter_map(|(_, entry)| entry.task.take()).collect();
        for task in tasks {
            task.abort();
        }
    }
}

/// Serves one connection with a server of its own, which no metrics tell of; [`Server::serve_connection`] for many.
pub async fn serve_connection<S: Read + Write>(stream: S, router: Router) {
    Server::unlisted(router, Limits::default()).serve_connection(stream).await;
}

impl Shared {
    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.get()
    }

    /// From now on each response is the last of its connection; those that are idle end at `idle_end`.
    fn begin_stop(&self, idle_end: Instant) {
        self.is_stopping.set(true);
        self.idle_end.set(self.idle_end.get().min(idle_end));
        for (_, entry) in self.connections.borrow().iter() {
            entry.waker.as_ref().inspect(|waker| waker.wake_by_ref());
        }
        self.stop.notify_all();
    }

    /// Waits until idle connections end, as the server stops.
    #[cfg(feature = "tls")]
    pub(crate) async fn idle_end(&self) {
        while Instant::now() < self.idle_end.get() {
            // A second stop may bring the end nearer.
            let _ = timeout(self.idle_end.get() - Instant::now(), self.stop.notified()).await;
        }
    }

    /// For a shutdown that loses its patience.
    pub(crate) fn keep_task(&self, slot: usize, task: JoinHandle<()>) {
        if let Some(entry) = self.connections.borrow_mut().get_mut(slot) {
            entry.task = Some(task);
        }
    }

    /// The spare memory, empty.
    #[inline(always)]
    pub(crate) fn take_spare(&self) -> Out {
        self.spare.take()
    }

    /// Takes the memory of `out`, whose bytes have been sent, unless it has grown large.
    #[inline(always)]
    pub(crate) fn put_spare(&self, mut out: Out) {
        if out.capacity() > SPARE_LEN_MAX {
            return;
        }
        out.clear();
        let other = self.spare.replace(out);
        if other.capacity() > 0 {
            self.choose_spare(other);
        }
    }

    /// Two have memory for one place: the larger one is of more use.
    #[cold]
    fn choose_spare(&self, other: Out) {
        let kept = self.spare.take();
        self.spare.set(if other.capacity() > kept.capacity() { other } else { kept });
    }
}

/// The entry of a connection in its server's list.
pub(crate) struct Registration {
    shared: Rc<Shared>,
    pub(crate) slot: usize,
    /// Who is at the other end.
    pub(crate) peer: Option<SocketAddr>,
}

impl Registration {
    pub(crate) fn new(shared: &Rc<Shared>, peer: Option<SocketAddr>) -> Registration {
        let slot = shared.connections.borrow_mut().insert(Entry::default());
        shared.stats.connected();
        Registration { shared: shared.clone(), slot, peer }
    }

    /// When the connection ends if it is idle then.
    #[inline]
    pub(crate) fn idle_end(&self) -> Instant {
        self.shared.idle_end.get()
    }

    /// What the server counts.
    #[inline(always)]
    pub(crate) fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// Whom to wake when the server stops.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        if let Some(entry) = self.shared.connections.borrow_mut().get_mut(self.slot) {
            entry.waker = Some(waker.clone());
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let entry = self.shared.connections.borrow_mut().try_remove(self.slot);
        if self.shared.connections.borrow().is_empty() {
            self.shared.empty.notify_all();
        }
        // Dropping a task's handle lets it run on to its end, which is near.
        drop(entry);
    }
}
