//! A list of notes: `curl -X PUT localhost:8080/notes/1 -H 'Content-Type: application/json' -d '"buy milk"'`.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{collections::BTreeMap, rc::Rc, string::String};
use core::cell::RefCell;
use unikernel_http::{Json, Path, Router, State, Status, get, serve};
use unikernel_net::Stack;

type Notes = Rc<RefCell<BTreeMap<u32, String>>>;

async fn list(State(notes): State<Notes>) -> Json<BTreeMap<u32, String>> {
    Json(notes.borrow().clone())
}

async fn read(State(notes): State<Notes>, Path(id): Path<u32>) -> Option<Json<String>> {
    notes.borrow().get(&id).cloned().map(Json)
}

async fn write(State(notes): State<Notes>, Path(id): Path<u32>, Json(text): Json<String>) -> Status {
    let old = notes.borrow_mut().insert(id, text);
    if old.is_some() { Status::NO_CONTENT } else { Status::CREATED }
}

#[unikernel_rt::main]
async fn main(stack: Stack) -> unikernel_rt::Result {
    let router = Router::new().route("/notes", get(list)).route("/notes/{id}", get(read).put(write));
    serve(stack.listen(8080)?, router.with_state(Notes::default())).await
}

#[cfg(test)]
mod tests;
