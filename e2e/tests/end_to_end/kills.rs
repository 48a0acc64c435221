//! Machines that are killed while they write: nothing that was acknowledged is ever missing, nothing is half.

use crate::volumes::{check, littlefs_dump};
use e2e::{
    client::{connect, get, read_response},
    vm::Vm,
};
use std::{
    collections::BTreeMap,
    env,
    io::{BufReader, Write},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

/// Machines that are killed in an ordinary run; `KILLS` says otherwise.
const KILLS: usize = 12;
const WRITERS: usize = 4;
const NOTES_PER_WRITER: u64 = 8;

/// What is known of a note: what it must be, and what it may be, too.
#[derive(Clone, Debug, Default)]
struct Known {
    acknowledged: Option<String>,
    under_way: Option<String>,
}

type Notes = Arc<Mutex<BTreeMap<String, Known>>>;

/// Notes of many lengths: inline, in one block, in several.
fn note(number: u64) -> String {
    let len = [3, 40, 700, 5_000, 20_000][(number % 5) as usize];
    format!("\"{number} {}\"", "x".repeat(len))
}

/// Puts one note after the other until the machine is gone. What had no answer is the last one: it may be there or not.
fn write(port: u16, writer: usize, first: u64, notes: &Notes, is_over: &AtomicBool) -> u64 {
    let mut number = first;
    while !is_over.load(Ordering::Relaxed) {
        let id = format!("w{writer}-{}", number % NOTES_PER_WRITER);
        let text = note(number);
        notes.lock().unwrap().entry(id.clone()).or_default().under_way = Some(text.clone());
        number += 1;
        let Some(status) = put(port, &id, &text) else { break };
        assert!(matches!(status, 201 | 204), "{status}");
        let mut notes = notes.lock().unwrap();
        let known = notes.get_mut(&id).unwrap();
        (known.acknowledged, known.under_way) = (Some(text), None);
    }
    number
}

fn put(port: u16, id: &str, text: &str) -> Option<u16> {
    let mut stream = connect(port).ok()?;
    let head =
        format!("PUT /notes/{id} HTTP/1.1\r\nHost: e2e\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", text.len());
    stream.write_all((head + text).as_bytes()).ok()?;
    read_response(&mut BufReader::new(stream)).ok().map(|response| response.status)
}

/// Whether every note is what it must be or may be. What was under way is then settled.
fn compare(port: u16, notes: &Notes) {
    for (id, known) in notes.lock().unwrap().iter_mut() {
        let response = get(port, &format!("/notes/{id}"));
        let found = (response.status == 200).then(|| String::from_utf8(response.body).unwrap());
        let is_right = found == known.acknowledged || (found.is_some() && found == known.under_way);
        assert!(is_right, "{id}: {found:?}, but {known:?}");
        (known.acknowledged, known.under_way) = (found, None);
    }
}

#[test]
fn machines_are_killed_while_they_write() {
    let kills = env::var("KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("notes.img");
    let words = format!("--volume notes={},size=16M", image.display());
    let notes = Notes::default();
    let mut numbers = [0; WRITERS];
    let mut acknowledged = 0;
    for kill in 0..kills {
        let vm = Vm::serving("notes", &words);
        compare(vm.port, &notes);
        let is_over = AtomicBool::new(false);
        let port = vm.port;
        let first = numbers;
        numbers = thread::scope(|scope| {
            let (notes, is_over) = (&notes, &is_over);
            let writers =
                [0, 1, 2, 3].map(|writer| scope.spawn(move || write(port, writer, first[writer], notes, is_over)));
            // Any moment: that the time differs is the point.
            let random = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_micros() % 500;
            thread::sleep(Duration::from_millis(20 + u64::from(random)));
            drop(vm);
            is_over.store(true, Ordering::Relaxed);
            writers.map(|writer| writer.join().unwrap())
        });
        acknowledged += numbers.iter().zip(first).map(|(now, before)| now - before).sum::<u64>();
        both_tools_accept(&image, kill);
    }
    println!("kills: {kills}, notes written: {acknowledged}, losses: 0");
}

fn both_tools_accept(image: &Path, kill: usize) {
    check(image);
    // An image of the first moments may not be a volume yet.
    if kill > 0 || std::fs::read(image).unwrap()[8..16] == *b"littlefs" {
        littlefs_dump(image);
    }
}
