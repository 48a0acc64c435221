//! `cargo unikernel ps` and `netstat`: lists that come in pages.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::de::DeserializeOwned;
use unikernel_inspect::wire::{Socket, Sockets, Task, Tasks};

use super::{
    Target,
    client::Client,
    show,
    table::{
        Align::{Left, Right},
        Table, time,
    },
};
use crate::fs::printable;

/// Pages of one list: more than any machine has, if each has something on it.
const PAGES_MAX: usize = 100_000;

/// Shows the tasks of a machine.
#[derive(clap::Args)]
pub struct Ps {
    #[command(flatten)]
    target: Target,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Shows the listeners, sockets and connections of a machine.
#[derive(clap::Args)]
pub struct Netstat {
    #[command(flatten)]
    target: Target,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// All tasks, on one page.
pub(super) fn tasks(client: &mut Client) -> Result<Tasks> {
    all(client, "/ps", |all: &mut Tasks, page| {
        all.now_micros = page.now_micros;
        all.tasks.extend(page.tasks);
        all.next = page.next;
        all.next.map(|next| next as u64)
    })
}

fn sockets(client: &mut Client) -> Result<Sockets> {
    all(client, "/netstat", |all: &mut Sockets, page| {
        all.sockets.extend(page.sockets);
        all.next = page.next;
        all.next
    })
}

/// All pages of a list as one; `add` adds one and says where the next begins.
fn all<T: Default + DeserializeOwned>(
    client: &mut Client,
    path: &str,
    add: impl Fn(&mut T, T) -> Option<u64>,
) -> Result<T> {
    let (mut all, mut from) = (T::default(), 0);
    for _ in 0..PAGES_MAX {
        let page = client.get(&format!("{path}?from={from}"))?;
        match add(&mut all, page) {
            Some(next) => from = next,
            None => return Ok(all),
        }
    }
    bail!("the list at {path} does not end");
}

impl Ps {
    /// Does it; the result is the exit code.
    pub fn exec(self) -> Result<u8> {
        let tasks = tasks(&mut self.target.open()?)?;
        let text = if self.json { serde_json::to_string(&tasks)? } else { ps_text(&tasks.tasks) };
        show(&text)
    }
}

fn ps_text(tasks: &[Task]) -> String {
    let columns =
        [("ID", Right), ("STATE", Left), ("POLLS", Right), ("TIME", Right), ("LONGEST", Right), ("NAME", Left)];
    let mut table = Table::new(&[&columns[..], &[("WAITS FOR", Left)]].concat());
    for task in tasks {
        table.push([
            task.id.to_string(),
            task.state.clone(),
            task.polls.to_string(),
            time(task.run_time_micros),
            time(task.longest_poll_micros),
            task.name.clone(),
            task.waits_for.clone(),
        ]);
    }
    table.text()
}

impl Netstat {
    /// Does it; the result is the exit code.
    pub fn exec(self) -> Result<u8> {
        let sockets = sockets(&mut self.target.open()?)?;
        let text = if self.json { serde_json::to_string(&sockets)? } else { netstat_text(&sockets.sockets) };
        show(&text)
    }
}

/// The table, and how many there are of each state.
fn netstat_text(sockets: &[Socket]) -> String {
    let columns =
        [("STATE", Left), ("RECV-Q", Right), ("SEND-Q", Right), ("LOCAL", Left), ("PEER", Left), ("OWNER", Left)];
    let mut table = Table::new(&[&columns[..], &[("RTT", Right), ("AGAIN", Right)]].concat());
    let mut states = BTreeMap::new();
    for socket in sockets {
        *states.entry(printable(&socket.state)).or_insert(0) += 1;
        table.push([
            socket.state.clone(),
            socket.receive_queue.to_string(),
            socket.send_queue.to_string(),
            socket.local.clone(),
            socket.peer.clone().unwrap_or("*".into()),
            socket.owner.clone(),
            socket.round_trip_micros.map(time).unwrap_or_default(),
            socket.retransmits.to_string(),
        ]);
    }
    let counts: Vec<_> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    format!("{}{}\n", table.text(), counts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_as_a_table() {
        let task = Task {
            id: 3,
            name: "network".into(),
            state: "waiting".into(),
            waits_for: "the network".into(),
            polls: 12,
            run_time_micros: 1_500,
            longest_poll_micros: 90,
        };
        let expected = "ID  STATE    POLLS    TIME  LONGEST  NAME     WAITS FOR\n \
                         3  waiting     12  1.5 ms    90 us  network  the network\n";
        assert_eq!(ps_text(&[task]), expected);
    }

    #[test]
    fn sockets_as_a_table() {
        let listener =
            Socket { state: "LISTEN".into(), local: "[::]:80".into(), owner: "app".into(), ..Socket::default() };
        let peer = Some("10.0.2.2:4000".into());
        let state = "ESTABLISHED".into();
        let connection = Socket { state, peer, send_queue: 17, round_trip_micros: Some(300), ..listener.clone() };
        let expected = "STATE        RECV-Q  SEND-Q  LOCAL    PEER           OWNER     RTT  AGAIN\n\
                        LISTEN            0       0  [::]:80  *              app                0\n\
                        ESTABLISHED       0      17  [::]:80  10.0.2.2:4000  app    300 us      0\n\
                        1 ESTABLISHED, 1 LISTEN\n";
        assert_eq!(netstat_text(&[listener, connection]), expected);
    }
}
