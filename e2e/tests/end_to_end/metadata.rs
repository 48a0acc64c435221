//! A cloud's metadata service, asked by a machine. QEMU's own network is the link-local one here, and leads what goes to
//! 169.254.169.254 to a fake service in this process: one connection, as QEMU makes it when it starts. Nothing else leaves it:
//! the computer of the test may be a machine of a cloud itself.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use crate::config::disk_with_partition;
use e2e::vm::{End, Vm};

const TOKEN: &str = "AQAAAKx-TheToken==";
const TEXT: &str = "# user data\nenv.TOKEN=hunter2-of-the-cloud\nenv.GREETING=metadata\nnumber=4\n";

/// How each of the two calls its header fields.
const AWS: &str = "X-aws-ec2-metadata-token";
const MMDS: &str = "X-metadata-token";

/// A service that runs until its connection ends.
struct Service {
    port: u16,
    /// The first line of each request.
    requests: Arc<Mutex<Vec<String>>>,
}

impl Service {
    /// `answer` gets the head of a request; without an answer the service is silent from then on.
    fn start(mut answer: impl FnMut(&str) -> Option<String> + Send + 'static) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        thread::spawn(move || {
            let (stream, _) = listener.accept()?;
            let mut lines = BufReader::new(stream.try_clone()?);
            while let Some(head) = head(&mut lines) {
                seen.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
                if let Some(text) = answer(&head) {
                    (&stream).write_all(text.as_bytes())?;
                }
            }
            std::io::Result::Ok(())
        });
        Service { port, requests }
    }

    /// One that is as it should be, with these header fields.
    fn good(field: &'static str) -> Service {
        Service::start(move |head| Some(good(field, head)))
    }

    /// QEMU's words for a network where it is.
    fn network(&self) -> String {
        format!(
            "-netdev user,id=n,restrict=on,net=169.254.0.0/16,guestfwd=tcp:169.254.169.254:80-tcp:127.0.0.1:{} \
             -device virtio-net-pci,netdev=n,romfile=",
            self.port
        )
    }

    /// The end of a machine there.
    fn end(&self, words: &str) -> End {
        let end = Vm::start_with("e2e-config", words, &self.network()).ends();
        assert!(!end.text.contains("hunter2") && !end.text.contains(TOKEN), "{end:?}");
        end
    }
}

fn head(lines: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if lines.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

fn good(field: &str, head: &str) -> String {
    let has = |line: String| head.lines().any(|other| other.eq_ignore_ascii_case(&line));
    match head.lines().next().unwrap_or_default() {
        "PUT /latest/api/token HTTP/1.1" if has(format!("{field}-ttl-seconds: 60")) => ok(TOKEN),
        "PUT /latest/api/token HTTP/1.1" => status("400 Bad Request"),
        "GET /latest/user-data HTTP/1.1" if has(format!("{field}: {TOKEN}")) => ok(TEXT),
        _ => status("401 Unauthorized"),
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n")
}

#[test]
fn both_services_are_asked_with_their_token() {
    for (field, name) in [(AWS, "aws"), (MMDS, "mmds")] {
        let service = Service::good(field);
        let end = service.end(&format!("metadata={name}"));
        assert!(end.code == 0 && end.text.contains("greeting <metadata> number 4 token *** of 20 bytes"), "{end:?}");
        let expected = ["PUT /latest/api/token HTTP/1.1", "GET /latest/user-data HTTP/1.1"];
        assert_eq!(*service.requests.lock().unwrap(), expected, "{name}");
    }
}

/// A machine that was not told to asks nobody.
#[test]
fn nobody_is_asked_without_being_told() {
    let service = Service::good(AWS);
    let end = service.end("--env TOKEN=1");
    assert!(end.code == 0 && end.text.contains("greeting <none> number 7 token *** of 1 bytes"), "{end:?}");
    assert!(service.requests.lock().unwrap().is_empty());
}

/// The command line, fw_cfg, the partition, the service: each value is of the first that has it.
#[test]
fn all_other_sources_come_before_it() {
    let (_folder, disk) = disk_with_partition(b"env.GREETING=partition\nnumber=3\n");
    let words = format!("metadata=aws --disk {} --env GREETING=fw_cfg", disk.display());
    let end = Service::good(AWS).end(&words);
    assert!(end.code == 0 && end.text.contains("greeting <fw_cfg> number 3 token *** of 20 bytes"), "{end:?}");
    let end = Service::good(AWS).end(&format!("{words} env.GREETING=line number=1"));
    assert!(end.code == 0 && end.text.contains("greeting <line> number 1 token *** of 20 bytes"), "{end:?}");
}

/// The error of a machine that asks a service with these answers to `PUT` and `GET`.
fn check(token: &str, text: &str, expected: &str) {
    let (token, text) = (token.to_owned(), text.to_owned());
    let service = Service::start(move |head| Some(if head.starts_with("PUT") { token.clone() } else { text.clone() }));
    let end = service.end("metadata=aws");
    assert!(end.code == 1 && end.text.contains(expected), "{expected}: {end:?}");
}

#[test]
fn services_that_refuse_or_talk_nonsense_are_named() {
    let named = |what: &str| format!("boot argument `metadata=aws`: 169.254.169.254 gave {what}");
    check(&status("403 Forbidden"), "", &named("no token: it is turned off for this machine (403)"));
    check(&ok(TOKEN), &status("401 Unauthorized"), &named("no user data: it does not take its own token (401)"));
    check("SSH-2.0-OpenSSH_9.2\r\n\r\n", "", &named("no token: this is no HTTP/1.1 response"));
    check(&ok(""), "", &named("a token that is none"));
    check(&ok(TOKEN), &ok("<html>hunter2</html>"), "the configuration in the metadata service is wrong in line 1");
}

/// What a machine may wait for a service, and what it takes besides that to boot and to end on a busy computer.
const PATIENCE: Duration = Duration::from_secs(10);
const MARGIN: Duration = Duration::from_secs(20);

/// The machine says this, no later than its ten seconds after it has an address; how long it ran.
fn gives_up(qemu: &str, expected: &str) -> Duration {
    let begin = Instant::now();
    let vm = Vm::start_with("e2e-config", "metadata=mmds", qemu);
    vm.says("network: address");
    let has_address = Instant::now();
    let end = vm.ends();
    let expected = format!("boot argument `metadata=mmds`: 169.254.169.254 {expected}");
    assert!(end.code == 1 && end.text.contains(&expected), "{end:?}");
    assert!(has_address.elapsed() < PATIENCE + MARGIN, "{:?}", has_address.elapsed());
    begin.elapsed()
}

#[test]
fn a_silent_service_does_not_hold_up_the_machine() {
    let service = Service::start(|_| None);
    let ran = gives_up(&service.network(), "does not answer; is there such a service here?");
    assert!(ran >= PATIENCE, "{ran:?}");
    assert_eq!(*service.requests.lock().unwrap(), ["PUT /latest/api/token HTTP/1.1"]);
}

/// QEMU's ordinary network, but that it must not lead to what may be at that address for the computer of the test.
#[test]
fn an_absent_service_does_not_hold_up_the_machine() {
    let network = "-netdev user,id=n,restrict=on -device virtio-net-pci,netdev=n,romfile=";
    gives_up(network, "gave no token: no way to that address");
}
