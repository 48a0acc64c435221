//! Says when a web server in the VM answers.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use crate::port::{Port, Protocol};

/// How long an answer may take before the question is asked anew.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two questions. There is no event to wait for: QEMU accepts connections before the guest listens.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks at each port for connections in the background until it answers, then prints its address.
pub fn start(ports: &[Port]) {
    for port in ports.iter().copied().filter(|port| port.protocol == Protocol::Tcp) {
        thread::spawn(move || {
            while answers(port.near()).is_err() {
                thread::sleep(PAUSE);
            }
            // On stderr, like all that the runner says by itself; stdout is the console's.
            let _ = writeln!(io::stderr(), "unikernel: {} answers", url(port));
        });
    }
}

/// For a browser on this machine.
fn url(port: Port) -> String {
    match port.near() {
        place if place.ip() == Ipv4Addr::LOCALHOST => format!("http://localhost:{}", place.port()),
        place => format!("http://{place}"),
    }
}

fn answers(place: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(place)?;
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
        let place = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 64];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer).unwrap();
        });
        assert_eq!(answers(place).is_ok(), expected);
        server.join().unwrap();
    }

    #[test]
    fn a_url_is_for_this_machine() {
        let check = |text: &str, expected: &str| assert_eq!(url(text.parse().unwrap()), expected, "{text}");
        check("8080:80", "http://localhost:8080");
        check("0.0.0.0:8080:80", "http://localhost:8080");
        check("127.0.0.2:8080:80", "http://127.0.0.2:8080");
        check("192.0.2.1:8080:80", "http://192.0.2.1:8080");
    }

    #[test]
    fn only_a_web_server_answers() {
        check(b"HTTP/1.1 404 Not Found\r\n\r\n", true);
        check(b"", false);
        check(b"220 mail ready\r\n", false);
    }
}
