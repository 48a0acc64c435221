//! The server that the end-to-end tests use: it echoes, counts its connections, and dies on request.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

mod left;
mod logs;
mod network;

use alloc::{format, rc::Rc, string::String, vec, vec::Vec};
use core::{array, cell::RefCell, hint::black_box, iter};
use unikernel_blockfs::Volume;
use unikernel_http::{Body, Bytes, Limits, MetricsPort, Path, Router, State, get, post, serve};
use unikernel_inspect::Inspect;
use unikernel_net::Stack;
use unikernel_rt::{
    Acquire, Machine, Modules, args, crash,
    fiber::{Fiber, Suspend},
    lifecycle,
    log::warn,
    time::sleep,
};
use unikernel_syslog::{Sink, Syslog};

#[unikernel_rt::main]
async fn main(
    modules: Modules,
    Ports(ports): Ports,
    kept: left::Kept,
    stack: Stack,
    metrics: MetricsPort,
    syslog: Syslog,
    inspect: Inspect,
) -> unikernel_rt::Result {
    metrics.open(&stack)?;
    let sink = syslog.start(&stack)?;
    let held = RefCell::default();
    let site = Site { stack: stack.clone(), modules, ports, sink, kept: kept.0, held };
    let router = Router::new()
        .route("/echo", post(async |body: Body| body))
        .route("/echo-whole", post(async |body: Bytes| body))
        .route("/number/{number}", get(async |Path(number): Path<String>| number))
        .route("/big", get(async || vec![b'x'; BIG_LEN]))
        .route("/stats", get(stats))
        .route("/log", get(async || warn!("asked to log the number {}", 7)))
        .route("/random", get(random))
        .route("/panic", get(panics))
        .route("/panic-alone", get(panics_alone))
        .route("/crashes", get(crashes))
        .route("/log/{count}", get(logs::many))
        .route("/log-odd", get(logs::odd))
        .route("/log-cost", get(logs::cost))
        .route("/sink", get(logs::sink))
        .route("/overflow", get(async || format!("{}", deeper(0))))
        .route("/overflow-on-fiber", get(overflows_on_fiber))
        .route("/panic-on-fiber", get(panics_on_fiber))
        .route("/module/{name}", get(module))
        .route("/ports", get(async |State(site): State<Shared>| site.ports.clone()))
        .route("/memory", get(takes_all_memory))
        .route("/hold/{count}", get(hold))
        .route("/let-go", get(async |State(site): State<Shared>| drop(site.held.take())))
        .route("/addresses", get(network::addresses))
        .route("/lookup/{name}", get(network::lookup))
        .route("/fetch/{host}/{port}", get(network::fetch))
        .route("/counters", get(network::counters))
        .route("/time", get(network::time))
        .route("/slow", get(slow))
        .route("/never", get(never))
        .route("/leave/{text}", get(left::leave))
        .route("/left", get(left::read))
        .route("/busy", get(async || core::mem::forget(lifecycle::busy())))
        .route("/exit", get(async || -> String { unikernel_rt::exit(43) }))
        .with_state(Rc::new(site));
    black_box(on_a_line(black_box(42)));
    unikernel_rt::spawn(network::echo_datagrams(stack.clone()));
    inspect.open(&stack)?;
    serve(stack.listen(8080)?, router).await
}

/// More than all buffers on the way can hold, so that a slow reader is noticed.
const BIG_LEN: usize = 8 << 20;

/// The addresses of the network ports in their order.
struct Ports(String);

impl Acquire for Ports {
    /// Looks and leaves them where they are.
    async fn acquire(machine: &mut Machine) -> unikernel_rt::Result<Ports> {
        assert!(!args::take_flag("crash-early")?, "asked to panic before main");
        let ports: Vec<_> = iter::from_fn(|| machine.take_net().ok()).collect();
        let macs: Vec<_> = ports.iter().map(|port| format!("{:02x?}", port.mac())).collect();
        ports.into_iter().for_each(|port| machine.add_net(port));
        Ok(Ports(macs.join(" ")))
    }
}

type Shared = Rc<Site>;

struct Site {
    stack: Stack,
    modules: Modules,
    ports: String,
    sink: Sink,
    kept: Option<Volume>,
    /// Blocks that somebody asked to hold.
    held: RefCell<Vec<Vec<u8>>>,
}

async fn stats(State(site): State<Shared>) -> String {
    format!("{}", site.stack.stats().flows)
}

async fn module(State(site): State<Shared>, Path(name): Path<String>) -> Option<Bytes> {
    site.modules.get(&name).map(Bytes::from_static)
}

/// Holds as many blocks of 1,000 bytes.
async fn hold(State(site): State<Shared>, Path(count): Path<usize>) {
    site.held.borrow_mut().extend(iter::repeat_with(|| vec![7; 1000]).take(count));
}

/// 64 numbers.
async fn random() -> String {
    (0..64).map(|_| format!("{:016x}\n", unikernel_rt::entropy::u64())).collect()
}

/// For the debugger: it takes a value and gives one.
#[inline(never)]
fn on_a_line(number: u32) -> u32 {
    black_box(number) + 1
}

/// An answer that comes after a stop was asked for, later than a server waits for requests that come during one.
async fn slow() -> &'static str {
    warn!("asked for what is slow");
    drop(lifecycle::stopping().await);
    sleep(2 * Limits::STOP_LINGER).await;
    "slow"
}

async fn never() -> String {
    warn!("asked for what never comes");
    core::future::pending().await
}

async fn panics() -> String {
    panic!("asked to panic")
}

async fn panics_alone() -> String {
    let task = unikernel_rt::spawn_supervised(async { panic!("asked to panic alone") });
    format!("{:?}", task.await.map(|result: Result<(), _>| result.is_err()))
}

/// Crashes since power-on, and what the last one was.
async fn crashes() -> String {
    let previous = crash::previous().map(|report| format!("{}: {}", report.kind, report.text));
    format!("{} {}", crash::count(), previous.unwrap_or_default())
}

/// Uses up the stack: each call has its own array, and needs it after the inner call. The end is never reached.
fn deeper(depth: u64) -> u64 {
    let level: [u64; 64] = black_box(array::from_fn(|index| depth + index as u64));
    if black_box(depth) == u64::MAX { 0 } else { deeper(depth + 1) + level[black_box(1)] }
}

async fn overflows_on_fiber() -> String {
    on_fiber(|| deeper(0))
}

async fn panics_on_fiber() -> String {
    on_fiber(|| panic!("asked to panic on a fiber"))
}

fn on_fiber(run: impl FnOnce() -> u64 + Send + 'static) -> String {
    let mut fiber = Fiber::new(16 * 1024, move |_: Suspend<(), u64>, ()| run()).expect("there is memory");
    format!("{:?}", fiber.resume(()))
}

async fn takes_all_memory() -> String {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(black_box(vec![0; 1 << 16]));
    }
}
