//! Says when a web server in the VM answers.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    thread,
    time::Duration,
};

use crate::port::Port;

/// How long an answer may take before the question is asked anew.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two questions. There is no event to wait for: QEMU accepts connections before the guest listens.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks at each port in the background until it answers, then prints its address.
pub fn start(ports: &[Port]) {
    for Port { host, .. } in ports.iter().copied() {
        thread::spawn(move || {
            while answers(host).is_err() {
                thread::sleep(PAUSE);
            }
            // On stderr, like all that the runner says by itself; stdout is the console's.
            let _ = writeln!(io::stderr(), "unikernel: http://localhost:{host} answers");
        });
    }
}

fn answers(port: u16) -> io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut start = [0; 5];
    stream.read_exact(&mut start)?;
    if &start == b"HTTP/" { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn check(answer: &'static [u8], expected: bool) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 64];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer).unwrap();
        });
        assert_eq!(answers(port).is_ok(), expected);
        server.join().unwrap();
    }

    #[test]
    fn only_a_web_server_answers() {
        check(b"HTTP/1.1 404 Not Found\r\n\r\n", true);
        check(b"", false);
        check(b"220 mail ready\r\n", false);
    }
}
