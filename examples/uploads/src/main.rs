//! Takes files onto the disk, as large as they may be, and serves them back: `curl -T film.mp4 localhost:8080/film.mp4`.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{format, rc::Rc, string::String};
use core::cell::Cell;
use futures_util::StreamExt;
use unikernel_blockfs::{Cause, Disk, Error, Format, Volume};
use unikernel_http::{Body, BodyError, IntoResponse, Path, Response, Router, ServeDir, State, Status, put, serve};
use unikernel_net::Stack;

/// What is being uploaded waits here until it is whole. Names with a dot at the start are not served.
const FOLDER: &str = ".incoming";

#[derive(Clone)]
struct Shared {
    volume: Volume,
    /// The number of the next upload, so that two of one name do not meet.
    next: Rc<Cell<u64>>,
}

/// The file is there when it is whole and safe, and the one before until then.
async fn upload(State(shared): State<Shared>, Path(name): Path<String>, body: Body) -> Result<Status, Failure> {
    if name.starts_with('.') {
        return Err(Failure::Name);
    }
    let number = shared.next.replace(shared.next.get() + 1);
    let incoming = format!("{FOLDER}/{number}");
    let result = receive(&shared.volume, &incoming, body).await;
    if let Err(failure) = result {
        // What came is of no use to anybody; if this fails too, the next start removes it.
        drop(shared.volume.remove(&incoming).await);
        return Err(failure);
    }
    shared.volume.rename(&incoming, &name).await?;
    shared.volume.sync().await?;
    Ok(Status::CREATED)
}

async fn receive(volume: &Volume, path: &str, mut body: Body) -> Result<(), Failure> {
    let file = volume.create(path).await?;
    let mut len = 0;
    while let Some(piece) = body.next().await {
        let piece = piece?;
        file.write_at(len, &piece).await?;
        len += piece.len() as u64;
    }
    Ok(file.sync().await?)
}

enum Failure {
    Name,
    Body(BodyError),
    Volume(Error),
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Failure {
        Failure::Body(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Volume(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Failure::Name => (Status::BAD_REQUEST, "a name does not begin with a dot\n").into_response(),
            Failure::Body(error) => error.into_response(),
            Failure::Volume(error) => {
                let status = match error.cause() {
                    Cause::Full => Status::INSUFFICIENT_STORAGE,
                    Cause::TooLarge => Status::CONTENT_TOO_LARGE,
                    Cause::InvalidName => Status::BAD_REQUEST,
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
    for left_over in volume.list(FOLDER).await? {
        volume.remove(&format!("{FOLDER}/{}", left_over.name)).await?;
    }
    let files = ServeDir::new(volume.clone());
    let router = Router::new().route("/{name}", put(upload).get(files.clone())).fallback(files);
    serve(stack.listen(8080)?, router.with_state(Shared { volume, next: Rc::default() })).await
}

#[cfg(test)]
mod tests;
