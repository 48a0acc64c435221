//! Durable puts into SQLite: a table of keys and values, a write-ahead log, every commit on the disk when it returns.
//!
//! One writer has a connection. For 64 there are two ways: a connection for each, which is what most programs do, and one
//! thread that commits everything that waits as one transaction, which is several times as fast. (One connection behind a
//! lock is no faster than the first.)

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rusqlite::{Connection, params};

use crate::append::{PLACE, mount_ext4};
use crate::console::measured;
use crate::work::{Done, KEYS, Puts, WRITERS, key, value};

/// Commits before the measurement: enough for the log to have its full length, as it keeps once it is there. Until
/// then every commit makes the log longer, which costs ext4 a transaction of its own.
const WARM_UP: usize = 2_500;
const PUT: &str = "INSERT INTO kv VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";

/// So many puts, in the way that `work` names.
pub fn put(work: &str, count: u64) -> Result<()> {
    mount_ext4()?;
    let writers = if work == "kv-1" { 1 } else { WRITERS as u64 };
    let each = count / writers;
    let done = Done { operations: each * writers, ..Done::default() };
    match work {
        "kv-1" => one(prepare(Locking::Once)?, each, done)?,
        "kv-64" => many(prepare(Locking::Always)?, each, done)?,
        "kv-64-batch" => batched(prepare(Locking::Once)?, each, done)?,
        _ => bail!("there is no way {work:?} to put"),
    }
    check(writers, each)
}

/// How often a connection locks the database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Locking {
    /// For good, where nobody else has a connection.
    Once,
    /// For each transaction.
    Always,
}

/// A database with all keys. Its log, which lasts as long as this connection, has its full length.
fn prepare(locking: Locking) -> Result<Connection> {
    let mut connection = open(locking)?;
    connection.execute_batch("CREATE TABLE kv (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")?;
    let transaction = connection.transaction()?;
    for number in 0..KEYS {
        transaction.prepare_cached(PUT)?.execute(params![key(number), value(0)])?;
    }
    transaction.commit()?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    put_all(&connection, Puts::new(0, 1).take(WARM_UP))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    rustix::fs::sync();
    Ok(connection)
}

fn open(locking: Locking) -> Result<Connection> {
    let connection = Connection::open(format!("{PLACE}/kv.db")).context("kv.db")?;
    connection.busy_timeout(Duration::from_secs(60))?;
    if locking == Locking::Once {
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn put_all(connection: &Connection, puts: impl Iterator<Item = (impl AsRef<[u8]>, impl AsRef<[u8]>)>) -> Result<()> {
    let mut statement = connection.prepare_cached(PUT)?;
    for (key, value) in puts {
        statement.execute(params![key.as_ref(), value.as_ref()])?;
    }
    Ok(())
}

fn one(connection: Connection, each: u64, done: Done) -> Result<()> {
    measured(|| put_all(&connection, Puts::new(0, 1).take(each as usize)).map(|()| done))?;
    Ok(())
}

/// A connection for each writer; SQLite lets them wait for each other.
fn many(_keeps_log: Connection, each: u64, done: Done) -> Result<()> {
    let connections: Vec<Connection> = (0..WRITERS).map(|_| open(Locking::Always)).collect::<Result<_>>()?;
    measured(|| {
        in_threads(connections, |connection, writer| {
            put_all(&connection, Puts::new(writer, WRITERS as u64).take(each as usize))
        })?;
        Ok(done)
    })?;
    Ok(())
}

/// A put on its way to the thread that commits, and where that tells the end of it.
struct Request {
    key: Vec<u8>,
    value: Vec<u8>,
    committed: SyncSender<()>,
}

/// One thread commits, in one transaction, all that waits.
fn batched(connection: Connection, each: u64, done: Done) -> Result<()> {
    let (requests, waiting) = mpsc::channel();
    measured(|| {
        thread::scope(|scope| {
            let committer = scope.spawn(move || commit_batches(connection, &waiting));
            in_threads(vec![requests; WRITERS], |requests, writer| send_puts(&requests, writer, each))?;
            committer.join().map_err(|_| anyhow!("the committer panicked"))?
        })?;
        Ok(done)
    })?;
    Ok(())
}

fn send_puts(requests: &Sender<Request>, writer: u64, each: u64) -> Result<()> {
    let (committed, when_committed) = mpsc::sync_channel(1);
    for (key, value) in Puts::new(writer, WRITERS as u64).take(each as usize) {
        requests.send(Request { key: key.into(), value: value.into(), committed: committed.clone() })?;
        when_committed.recv()?;
    }
    Ok(())
}

/// Until no writer is left.
fn commit_batches(mut connection: Connection, waiting: &Receiver<Request>) -> Result<()> {
    while let Ok(first) = waiting.recv() {
        let batch: Vec<Request> = [first].into_iter().chain(waiting.try_iter().take(WRITERS - 1)).collect();
        let transaction = connection.transaction()?;
        put_all(&transaction, batch.iter().map(|request| (&request.key, &request.value)))?;
        transaction.commit()?;
        for request in batch {
            request.committed.send(())?;
        }
    }
    Ok(())
}

/// Runs a writer on each of these, and waits for all.
fn in_threads<T: Send>(parts: Vec<T>, write: impl Fn(T, u64) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let write = &write;
        let threads: Vec<_> =
            parts.into_iter().zip(0..).map(|(part, writer)| scope.spawn(move || write(part, writer))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a writer panicked"))?)
    })
}

/// Every key has the value that was put last.
fn check(writers: u64, each: u64) -> Result<()> {
    let connection = open(Locking::Always)?;
    let mut statement = connection.prepare("SELECT value FROM kv WHERE key = ?1")?;
    for writer in 0..writers {
        let last: BTreeMap<_, _> = Puts::new(writer, writers).take(each as usize).collect();
        for (key, value) in last {
            let found: Vec<u8> = statement.query_row(params![key], |row| row.get(0))?;
            ensure!(found == value, "a key has another value than the one that was put last");
        }
    }
    Ok(())
}
