//! The notes of {{project-name}}, and the API in front of them.
//!
//! They stand in a library, so that tests reach them: on the workstation and in the machine.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{collections::BTreeMap, rc::Rc, string::String, vec::Vec};
use core::cell::RefCell;
use serde::{Deserialize, Serialize};
use unikernel_http::{Json, Path, Router, State, Status, get};

/// More are refused, as what only grows ends in too little memory.
pub const NOTES_MAX: usize = 10_000;

/// What a client sends.
#[derive(Deserialize)]
pub struct Draft {
    /// What is to be noted.
    pub text: String,
}

/// What a client gets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Note {
    /// By which it is found again.
    pub id: u32,
    /// What was noted.
    pub text: String,
}

/// All notes. They end with the machine; a `KvStore` of `unikernel-blockfs` keeps them.
#[derive(Default)]
pub struct Notes {
    by_id: BTreeMap<u32, Note>,
    last_id: u32,
}

impl Notes {
    /// Keeps a note; `None` when there is no room.
    pub fn add(&mut self, text: String) -> Option<Note> {
        if self.by_id.len() >= NOTES_MAX {
            return None;
        }
        self.last_id += 1;
        let note = Note {
            id: self.last_id,
            text,
        };
        self.by_id.insert(note.id, note.clone());
        Some(note)
    }

    /// The note with this number.
    pub fn get(&self, id: u32) -> Option<Note> {
        self.by_id.get(&id).cloned()
    }

    /// All of them, in the order in which they came.
    pub fn list(&self) -> Vec<Note> {
        self.by_id.values().cloned().collect()
    }

    /// Forgets a note; whether there was one.
    pub fn remove(&mut self, id: u32) -> bool {
        self.by_id.remove(&id).is_some()
    }
}

type Shared = Rc<RefCell<Notes>>;

/// What answers to which path.
pub fn api() -> Router {
    let notes = Router::new()
        .route("/notes", get(list).post(add))
        .route("/notes/{id}", get(read).delete(remove));
    notes.with_state(Shared::default())
}

async fn list(State(notes): State<Shared>) -> Json<Vec<Note>> {
    Json(notes.borrow().list())
}

async fn add(
    State(notes): State<Shared>,
    Json(draft): Json<Draft>,
) -> Result<(Status, Json<Note>), Status> {
    let note = notes
        .borrow_mut()
        .add(draft.text)
        .ok_or(Status::SERVICE_UNAVAILABLE)?;
    Ok((Status::CREATED, Json(note)))
}

async fn read(State(notes): State<Shared>, Path(id): Path<u32>) -> Option<Json<Note>> {
    notes.borrow().get(id).map(Json)
}

async fn remove(State(notes): State<Shared>, Path(id): Path<u32>) -> Status {
    if notes.borrow_mut().remove(id) {
        Status::NO_CONTENT
    } else {
        Status::NOT_FOUND
    }
}
