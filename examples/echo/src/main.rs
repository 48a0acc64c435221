//! Sends every byte back: `nc localhost 7007`.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

use unikernel_net::{Error, Read, Stack, Stream, Write};

#[unikernel_rt::main]
async fn main(stack: Stack) -> unikernel_rt::Result {
    let mut listener = stack.listen(7007)?;
    loop {
        unikernel_rt::spawn(echo(listener.accept().await));
    }
}

async fn echo(mut stream: Stream) -> Result<(), Error> {
    let mut bytes = [0; 2048];
    loop {
        match stream.read(&mut bytes).await? {
            0 => return Ok(()),
            len => stream.write_all(&bytes[..len]).await?,
        }
    }
}

#[cfg(test)]
mod tests;
