//! Asks each backend how it is, and remembers the answers.

use crate::backends::{Backend, Backends};
use alloc::{
    format,
    rc::Rc,
    string::{String, ToString},
};
use unikernel_http::client::{Client, Limits};
use unikernel_net::Stack;
use unikernel_rt::{
    spawn,
    time::{Duration, sleep},
};

/// Between two questions. As HAProxy's `inter`.
const INTERVAL: Duration = Duration::from_secs(2);
/// A backend that takes longer to answer is counted as one that does not.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many bad answers in a row, and it is down: one lost packet is no reason. As HAProxy's `fall`.
const FALL: u32 = 3;
/// So many good ones, and it is up again. As HAProxy's `rise`.
const RISE: u32 = 2;

/// Whether a backend is up, and what speaks against that.
pub struct Health {
    is_up: bool,
    /// Answers in a row that say otherwise.
    doubts: u32,
}

/// Up until the contrary is known, so that the first request need not wait.
impl Default for Health {
    fn default() -> Health {
        Health { is_up: true, doubts: 0 }
    }
}

impl Health {
    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// Takes note of an answer. Whether that changed anything.
    pub fn note(&mut self, is_good: bool) -> bool {
        self.doubts = if is_good == self.is_up { 0 } else { self.doubts + 1 };
        let enough = if self.is_up { FALL } else { RISE };
        if self.doubts < enough {
            return false;
        }
        *self = Health { is_up: is_good, doubts: 0 };
        true
    }
}

/// Starts to ask, each backend in a task of its own.
pub fn start(stack: &Stack, backends: &Backends, path: String) {
    // A connection for each question: whether it takes new ones is part of the answer.
    let limits = Limits { redirects_max: 0, pool_idle_timeout: Duration::ZERO, ..Limits::default() };
    let client = Client::builder(stack.clone()).limits(limits).build();
    for backend in backends.iter() {
        spawn(watch(client.clone(), backend.clone(), path.clone()));
    }
}

async fn watch(client: Client, backend: Rc<Backend>, path: String) {
    let url = format!("http://{}{path}", backend.address);
    loop {
        backend.note(&ask(&client, &url).await);
        sleep(INTERVAL).await;
    }
}

async fn ask(client: &Client, url: &str) -> Result<(), String> {
    let response = client.get(url).timeout(PATIENCE).send().await.map_err(|error| error.to_string())?;
    match response.status().code() {
        200..400 => Ok(()),
        _ => Err(format!("it answered {}", response.status())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` is a good answer, `-` a bad one. What the backend is after each: `U`p or `D`own.
    #[track_caller]
    fn check(answers: &str, expected: &str) {
        let mut health = Health::default();
        let states = answers.chars().map(|answer| {
            let before = health.is_up();
            assert_eq!(health.note(answer == '+'), before != health.is_up());
            if health.is_up() { 'U' } else { 'D' }
        });
        assert_eq!(states.collect::<String>(), expected, "{answers}");
    }

    #[test]
    fn answers_and_what_follows() {
        check("++", "UU");
        check("---", "UUD");
        check("--+--+--+", "UUUUUUUUU");
        check("----+-++", "UUDDDDDU");
        check("---++---", "UUDDUUUD");
    }
}
