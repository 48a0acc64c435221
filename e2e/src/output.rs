//! What a process says, collected while it runs.

use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex},
    thread,
};

use crate::PATIENCE;

/// All that came out of so many streams of one process.
pub struct Output {
    shared: Arc<Shared>,
    streams: usize,
}

#[derive(Default)]
struct Shared {
    /// All text so far, and how many of the streams are closed.
    state: Mutex<(String, usize)>,
    changed: Condvar,
}

impl Output {
    /// Follows these streams to their ends.
    pub fn of(streams: Vec<Box<dyn Read + Send>>) -> Output {
        let shared = Arc::new(Shared::default());
        let count = streams.len();
        streams.into_iter().for_each(|stream| follow(stream, &shared));
        Output { shared, streams: count }
    }

    /// All it said so far.
    pub fn said(&self) -> String {
        self.shared.state.lock().expect("no reader panics").0.clone()
    }

    /// Whether all streams are closed.
    pub fn has_ended(&self) -> bool {
        self.shared.state.lock().expect("no reader panics").1 == self.streams
    }

    /// Waits until what it said is as wanted, or all streams are closed, or [`PATIENCE`] is over.
    pub fn wait(&self, wanted: impl Fn(&str) -> bool) {
        let done = |(said, closed): &(String, usize)| wanted(said) || *closed == self.streams;
        let state = self.shared.state.lock().expect("no reader panics");
        let waited = self.shared.changed.wait_timeout_while(state, PATIENCE, |state| !done(state));
        drop(waited.expect("no reader panics"));
    }

    /// Waits until it has said this so many times.
    pub fn says(&self, text: &str, times: usize) {
        let said = |said: &str| said.matches(text).count() >= times;
        self.wait(said);
        assert!(said(&self.said()), "`{text}` was not said {times} times:\n{}", self.said());
    }
}

fn follow(stream: impl Read + Send + 'static, shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        // A console that nobody decodes has log frames between its lines, which are no text.
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line));
            let mut state = shared.state.lock().expect("no reader panics");
            state.0 += &format!("{line}\n");
            shared.changed.notify_all();
        }
        shared.state.lock().expect("no reader panics").1 += 1;
        shared.changed.notify_all();
    });
}
