//! What is shown. Each answer is a bounded amount of work.

mod dump;

use crate::{limits::PAGE_LEN_MAX, wire};
use alloc::{
    format,
    rc::Rc,
    string::{String, ToString},
};
use core::time::Duration;
use dump::Dumps;
use serde::Deserialize;
use unikernel_http::{IntoResponse, Json, Query, Response, Router, State, Status, get};
use unikernel_net::{SocketInfo, Stack};
use unikernel_rt::{
    crash, heap,
    log::{
        level::{self, BUILT, Rule},
        tail::Level,
    },
    task::{TaskInfo, tasks_from},
    time::{Instant, unix_time},
};

/// All of it, for whoever gets here by that port.
pub(crate) fn router(stack: &Stack, port: u16) -> Router {
    let lists = Router::new().route("/netstat", get(netstat)).with_state(stack.clone());
    let captures = Router::new()
        .route("/tcpdump", get(dump::start))
        .route("/captures/{number}", get(dump::counts))
        .with_state(Rc::new(Dumps::new(stack, port)));
    Router::new()
        .route("/ps", get(ps))
        .route("/heap", get(heap))
        .route("/ping", get(ping))
        .route("/log-level", get(levels).put(set_level))
        .merge(lists)
        .merge(captures)
}

/// Which part of a list.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Part {
    from: u64,
    max: usize,
}

impl Default for Part {
    fn default() -> Part {
        Part { from: 0, max: PAGE_LEN_MAX }
    }
}

async fn ps(Query(part): Query<Part>) -> Json<wire::Tasks> {
    let now_micros = Instant::now().as_micros();
    let from = usize::try_from(part.from).unwrap_or(usize::MAX);
    let (tasks, next) = tasks_from(from, part.max.clamp(1, PAGE_LEN_MAX));
    Json(wire::Tasks { now_micros, tasks: tasks.iter().map(task).collect(), next })
}

fn task(task: &TaskInfo) -> wire::Task {
    wire::Task {
        id: task.id,
        name: task.name.to_string(),
        state: task.state.to_string(),
        waits_for: task.waits_for.into(),
        polls: task.polls,
        run_time_micros: micros(task.run_time),
        longest_poll_micros: micros(task.longest_poll),
    }
}

async fn netstat(State(stack): State<Stack>, Query(part): Query<Part>) -> Json<wire::Sockets> {
    let page = stack.sockets(part.from, part.max.clamp(1, PAGE_LEN_MAX));
    Json(wire::Sockets { sockets: page.sockets.iter().map(socket).collect(), next: page.next })
}

fn socket(socket: &SocketInfo) -> wire::Socket {
    wire::Socket {
        state: socket.state.to_string(),
        local: socket.local.to_string(),
        peer: socket.peer.map(|peer| peer.to_string()),
        owner: socket.owner.to_string(),
        receive_queue: socket.receive_queue,
        send_queue: socket.send_queue,
        retransmits: socket.retransmits,
        round_trip_micros: socket.round_trip.map(micros),
        congestion_window: socket.congestion_window,
    }
}

async fn heap() -> Json<wire::Heap> {
    let heap::HeapStats { in_use, peak, total } = heap::stats();
    let classes = heap::classes().into_iter().filter(|class| class.held > 0).map(|class| wire::HeapClass {
        block_len_max: class.block_len_max,
        blocks: class.blocks,
        held: class.held,
    });
    Json(wire::Heap { in_use, peak, total, classes: classes.collect(), sites: heap_sites() })
}

/// More would be a long answer that nobody reads to its end.
const SITES_MAX: usize = 64;

fn heap_sites() -> wire::HeapSites {
    let heap::Sites { interval, missed, sites } = heap::sites();
    let site = |heap::Site { frames, samples, bytes }| wire::HeapSite { frames, samples, bytes };
    let build = crash::build_id().iter().map(|byte| format!("{byte:02x}")).collect();
    wire::HeapSites { build, interval, missed, sites: sites.into_iter().take(SITES_MAX).map(site).collect() }
}

async fn ping() -> Json<wire::Pong> {
    Json(wire::Pong { uptime_micros: Instant::now().as_micros(), unix_micros: micros(unix_time()) })
}

async fn levels() -> Json<wire::Levels> {
    let rules = level::rules().into_iter();
    let rules = rules.map(|Rule { module, level }| wire::LevelRule { module, level: level_name(level).into() });
    Json(wire::Levels { built: level_name(Some(BUILT)).into(), rules: rules.collect() })
}

/// A rule to set; `default` takes it back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLevel {
    #[serde(default)]
    module: String,
    level: String,
}

const DEFAULT: &str = "default";
const LEVELS: [Option<Level>; 6] =
    [None, Some(Level::Error), Some(Level::Warn), Some(Level::Info), Some(Level::Debug), Some(Level::Trace)];

fn level_name(level: Option<Level>) -> &'static str {
    match level {
        None => "off",
        Some(Level::Error) => "error",
        Some(Level::Warn) => "warn",
        Some(Level::Info) => "info",
        Some(Level::Debug) => "debug",
        Some(Level::Trace) => "trace",
    }
}

async fn set_level(Query(new): Query<NewLevel>) -> Response {
    let level = LEVELS.into_iter().find(|level| level_name(*level) == new.level);
    let done = match level {
        Some(level) => level::set(&new.module, level).map_err(|error| error.to_string()),
        None if new.level == DEFAULT => {
            level::clear(&new.module);
            Ok(())
        }
        None => Err("a level is `off`, `error`, `warn`, `info`, `debug`, `trace` or `default`".into()),
    };
    match done {
        Ok(()) => levels().await.into_response(),
        Err(why) => (Status::BAD_REQUEST, format!("{why}\n")).into_response(),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
