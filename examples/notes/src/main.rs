//! Notes that survive: `curl -X PUT localhost:8080/notes/1 -d '"buy milk"'`. An answer with 2xx means that the note is on
//! the disk, whatever happens to the machine.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{format, string::String, vec::Vec};
use unikernel_blockfs::{Cause, Disk, Error, Format, Volume};
use unikernel_http::{IntoResponse, Json, Path, Response, Router, State, Status, get, serve};
use unikernel_net::Stack;
use unikernel_rt::sync::Semaphore;

/// Notes are files in this folder.
const FOLDER: &str = "notes";
const ID_LEN_MAX: usize = 64;
/// A longer note is refused by the server before it comes here.
const NOTE_LEN_MAX: usize = 2 << 20;

#[derive(Clone)]
struct Notes {
    volume: Volume,
    /// A file has one writer at a time.
    turn: Semaphore,
}

async fn list(State(notes): State<Notes>) -> Result<Json<Vec<String>>, Failure> {
    let mut ids: Vec<String> = notes.volume.list(FOLDER).await?.into_iter().map(|entry| entry.name).collect();
    ids.sort();
    Ok(Json(ids))
}

async fn read(State(notes): State<Notes>, Path(id): Path<String>) -> Result<Response, Failure> {
    let note = notes.volume.read(&path_of(&id)?, NOTE_LEN_MAX).await?;
    Ok(Response::new(Status::OK, note).with_header("Content-Type", "application/json"))
}

/// The old note or the new one is there at any time, and the new one when this returns.
async fn write(State(notes): State<Notes>, Path(id): Path<String>, note: String) -> Result<Status, Failure> {
    let path = path_of(&id)?;
    serde_json::from_str::<String>(&note)
        .map_err(|error| Failure::Request(format!("a note is a JSON string: {error}")))?;
    let _turn = notes.turn.acquire().await;
    let is_new = notes.volume.metadata(&path).await.is_err();
    notes.volume.write(&path, note.as_bytes()).await?;
    Ok(if is_new { Status::CREATED } else { Status::NO_CONTENT })
}

async fn remove(State(notes): State<Notes>, Path(id): Path<String>) -> Result<Status, Failure> {
    notes.volume.remove(&path_of(&id)?).await?;
    notes.volume.sync().await?;
    Ok(Status::NO_CONTENT)
}

fn path_of(id: &str) -> Result<String, Failure> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match !id.is_empty() && id.len() <= ID_LEN_MAX && id.bytes().all(is_plain) {
        true => Ok(format!("{FOLDER}/{id}")),
        false => Err(Failure::Request(format!("an id has 1 to {ID_LEN_MAX} letters, digits, `-` and `_`"))),
    }
}

enum Failure {
    /// The request makes no sense.
    Request(String),
    Volume(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Volume(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Failure::Request(problem) => (Status::BAD_REQUEST, format!("{problem}\n")).into_response(),
            Failure::Volume(error) => {
                let status = match error.cause() {
                    Cause::NotFound => Status::NOT_FOUND,
                    Cause::Full => Status::INSUFFICIENT_STORAGE,
                    _ => Status::INTERNAL_SERVER_ERROR,
                };
                (status, format!("{error}\n")).into_response()
            }
        }
    }
}

#[unikernel_rt::main]
async fn main(stack: Stack, disk: Disk) -> unikernel_rt::Result {
    let volume = Volume::mount_or_format(disk, Format::Littlefs).await?;
    volume.create_folders(FOLDER).await?;
    volume.sync().await?;
    let router = Router::new().route("/notes", get(list)).route("/notes/{id}", get(read).put(write).delete(remove));
    serve(stack.listen(8080)?, router.with_state(Notes { volume, turn: Semaphore::new(1) })).await
}

#[cfg(test)]
mod tests;
