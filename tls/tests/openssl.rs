//! Against OpenSSL's `s_client` and `s_server`: versions, suites, groups, kinds of keys, resumption, new keys, client
//! certificates, refusals. Needs the command `openssl`.
#![allow(missing_docs)]

mod common;

use common::pki::{Authority, KEYS, Leaf};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use std::{
    fs,
    io::{BufRead, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};
use unikernel_tls::{ClientCertificates, Identity, Rejection, TlsAcceptor, TlsConnector, TlsError, TlsVersion};

/// A socket that blocks: the hosted machine has nothing else to do meanwhile.
struct Socket(TcpStream);

impl ErrorType for Socket {
    type Error = ErrorKind;
}

impl Read for Socket {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        self.0.read(buffer).map_err(|_| ErrorKind::Other)
    }
}

impl Write for Socket {
    async fn write(&mut self, data: &[u8]) -> Result<usize, ErrorKind> {
        self.0.write(data).map_err(|_| ErrorKind::Other)
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

/// Files for a peer; they vanish with it.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Files {
        let folder = std::env::temp_dir().join(format!("unikernel-tls-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Files(folder)
    }

    fn put(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().into()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A certificate for an RSA key, which `rcgen` cannot make.
fn rsa(authority: &Authority, bits: u32) -> Leaf {
    let made =
        Command::new("openssl").args(["genrsa", &bits.to_string()]).output().expect("the command openssl is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let key = rcgen::KeyPair::from_pem(&String::from_utf8(made.stdout).unwrap()).unwrap();
    authority.leaf_for(&["a.test"], key, |_| ())
}

/// Runs `s_client` with `input` against one accepted connection that answers `pong` to a line.
async fn s_client(acceptor: &TlsAcceptor, arguments: &[&str], input: &str) -> (Result<Vec<u8>, TlsError>, Output) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &listener.local_addr().unwrap().to_string(), "-servername", "a.test"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command openssl is there");
    child.stdin.as_mut().unwrap().write_all(input.as_bytes()).unwrap();
    let answered = answer(acceptor, listener.accept().unwrap().0).await;
    (answered, child.wait_with_output().unwrap())
}

/// The lines before the one that ends with `ping`, which is answered.
async fn answer(acceptor: &TlsAcceptor, socket: TcpStream) -> Result<Vec<u8>, TlsError> {
    let mut stream = acceptor.accept(Socket(socket)).await?;
    let (mut received, mut buffer) = (Vec::new(), [0; 1000]);
    while !received.ends_with(b"ping\n") {
        let len = stream.read(&mut buffer).await?;
        assert_ne!(len, 0);
        received.extend_from_slice(&buffer[..len]);
    }
    stream.write_all(b"pong\n").await?;
    stream.close().await?;
    Ok(received)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

const SUITES_13: [&str; 3] = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
const SUITES_12: [&str; 3] = ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"];
const GROUPS: [&str; 3] = ["X25519", "P-256", "P-384"];

#[unikernel_rt::test]
async fn clients_with_every_version_suite_group_and_key() {
    let files = Files::new("s_client");
    let root = Authority::new("root");
    let leaves = KEYS.iter().map(|(name, algorithm)| (*name, root.leaf_with(&["a.test"], algorithm, |_| ())));
    let ca = files.put("root.pem", &root.pem());
    for (key, leaf) in leaves.chain([("RSA", rsa(&root, 2048))]) {
        let acceptor = TlsAcceptor::new(leaf.identity()).unwrap();
        for (at, group) in GROUPS.into_iter().enumerate() {
            let common = ["-CAfile", &ca, "-verify_return_error", "-quiet", "-groups", group];
            let modern = [&common[..], &["-tls1_3", "-ciphersuites", SUITES_13[at]]].concat();
            let (heard, output) = s_client(&acceptor, &modern, "ping\n").await;
            assert!(heard.is_ok() && output.stdout == b"pong\n", "{key} {modern:?}: {heard:?} {}", text(&output));
            let suite = format!("ECDHE-{}-{}", if key == "RSA" { "RSA" } else { "ECDSA" }, SUITES_12[at]);
            // In TLS 1.2 the groups are also those of certificates.
            let curve = if key == "P-384" { "P-384" } else { "P-256" };
            let groups = if group == curve { group.into() } else { format!("{group}:{curve}") };
            let old = ["-CAfile", &ca, "-verify_return_error", "-quiet", "-groups", &groups];
            let old = [&old[..], &["-tls1_2", "-cipher", &suite]].concat();
            let (heard, output) = s_client(&acceptor, &old, "ping\n").await;
            assert!(heard.is_ok() && output.stdout == b"pong\n", "{key} {old:?}: {heard:?} {}", text(&output));
        }
    }
}

#[unikernel_rt::test]
async fn clients_of_old_are_refused() {
    let acceptor = TlsAcceptor::new(Authority::new("root").leaf(&["a.test"]).identity()).unwrap();
    let rows: [&[&str]; 4] = [
        &["-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"],
        &["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
        &["-tls1_3", "-groups", "X448"],
    ];
    for arguments in rows {
        let (heard, output) = s_client(&acceptor, arguments, "").await;
        assert!(heard.is_err() && text(&output).contains("alert"), "{arguments:?}: {heard:?} {}", text(&output));
    }
}

#[unikernel_rt::test]
async fn clients_resume() {
    let files = Files::new("resume");
    let acceptor = TlsAcceptor::new(Authority::new("root").leaf(&["a.test"]).identity()).unwrap();
    for version in ["-tls1_3", "-tls1_2"] {
        let session = files.path("session");
        let first = [version, "-sess_out", &session, "-ign_eof"];
        let (heard, output) = s_client(&acceptor, &first, "ping\n").await;
        assert!(heard.is_ok() && text(&output).contains("New, TLSv1"), "{version}: {}", text(&output));
        let second = [version, "-sess_in", &session, "-ign_eof"];
        let (heard, output) = s_client(&acceptor, &second, "ping\n").await;
        assert!(heard.is_ok() && text(&output).contains("Reused, TLSv1"), "{version}: {}", text(&output));
    }
}

/// `K` in a line of its own makes `s_client` renew its keys and ask for new ones of ours; `R` asks for a new handshake.
#[unikernel_rt::test]
async fn keys_are_renewed_and_handshakes_are_not() {
    let acceptor = TlsAcceptor::new(Authority::new("root").leaf(&["a.test"]).identity()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &listener.local_addr().unwrap().to_string(), "-tls1_3"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stream = acceptor.accept(Socket(listener.accept().unwrap().0)).await.unwrap();
    let mut input = client.stdin.take().unwrap();
    let mut buffer = [0; 100];
    for round in 0..3 {
        // Each line is read at once by the client, which takes a command only at the start of what it reads.
        input.write_all(b"before\n").unwrap();
        assert_eq!(stream.read(&mut buffer).await, Ok(7), "round {round}");
        stream.write_all(b"seen before\n").await.unwrap();
        stream.flush().await.unwrap();
        await_line(client.stdout.as_mut().unwrap(), "seen before");
        input.write_all(b"K\n").unwrap();
        await_line(client.stderr.as_mut().unwrap(), "KEYUPDATE");
        input.write_all(b"after\n").unwrap();
        assert_eq!(stream.read(&mut buffer).await, Ok(6), "round {round}");
        stream.write_all(b"seen after\n").await.unwrap();
        stream.flush().await.unwrap();
        await_line(client.stdout.as_mut().unwrap(), "seen after");
    }
    stream.close().await.unwrap();
    drop(input);
    client.wait().unwrap();
}

/// Reads what a peer says until a line contains `text`.
fn await_line(output: &mut impl std::io::Read, text: &str) {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while output.read(&mut byte).unwrap() == 1 {
        line.push(byte[0]);
        if byte[0] == b'\n' {
            if String::from_utf8_lossy(&line).contains(text) {
                return;
            }
            line.clear();
        }
    }
    panic!("the peer ended before it said {text}");
}

#[unikernel_rt::test]
async fn clients_show_certificates() {
    let files = Files::new("clients");
    let (root, strangers) = (Authority::new("root"), Authority::new("strangers"));
    let acceptor = TlsAcceptor::builder(root.leaf(&["a.test"]).identity())
        .client_certificates(ClientCertificates::Required(root.roots()))
        .build()
        .unwrap();
    for version in ["-tls1_3", "-tls1_2"] {
        for (authority, is_good) in [(Some(&root), true), (Some(&strangers), false), (None, false)] {
            let mut arguments = vec![version.to_string(), "-quiet".into()];
            if let Some(authority) = authority {
                let leaf = authority.leaf(&["client"]);
                arguments.extend(["-cert".into(), files.put("cert.pem", &leaf.chain)]);
                arguments.extend(["-key".into(), files.put("key.pem", &leaf.key)]);
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let (heard, output) = s_client(&acceptor, &arguments, "ping\n").await;
            assert_eq!(heard.is_ok(), is_good, "{arguments:?}: {heard:?} {}", text(&output));
            let is_refused = matches!(heard, Err(TlsError::Certificate(_)));
            assert!(is_good || is_refused, "{arguments:?}: {heard:?}");
        }
    }
}

/// An `s_server` that turns lines around; it ends when it is dropped.
struct Server(Child, u16);

impl Server {
    fn start(files: &Files, leaf: &Leaf, arguments: &[&str]) -> Server {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (cert, key) = (files.put("server.pem", &leaf.chain), files.put("server.key", &leaf.key));
        let mut child = Command::new("openssl")
            .args([
                "s_server",
                "-accept",
                &port.to_string(),
                "-rev",
                "-cert",
                &cert,
                "-cert_chain",
                &cert,
                "-key",
                &key,
            ])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the command openssl is there");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("ACCEPT")), "it does not listen: {arguments:?}");
        // What else it says must not block it.
        std::thread::spawn(move || lines.for_each(drop));
        Server(child, port)
    }

    async fn connect(&self, connector: &TlsConnector) -> Result<unikernel_tls::TlsStream<Socket>, TlsError> {
        connector.connect("a.test", Socket(TcpStream::connect(("127.0.0.1", self.1)).unwrap())).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One line there and back.
async fn turn_around(stream: &mut unikernel_tls::TlsStream<Socket>) {
    stream.write_all(b"abcdef\n").await.unwrap();
    stream.flush().await.unwrap();
    let mut back = [0; 7];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"fedcba\n");
}

#[unikernel_rt::test]
async fn servers_with_every_version_suite_group_and_key() {
    let files = Files::new("s_server");
    let root = Authority::new("root");
    // OpenSSL 3.0 does not read the form in which `rcgen` writes keys for Ed25519.
    let keys = KEYS.iter().filter(|(name, _)| *name != "Ed25519");
    let leaves = keys.map(|(_, algorithm)| root.leaf_with(&["a.test"], algorithm, |_| ()));
    for leaf in leaves.chain([rsa(&root, 3072)]) {
        for at in 0..3 {
            let rows: [(&[&str], TlsVersion); 2] = [
                (&["-tls1_3", "-ciphersuites", SUITES_13[at], "-groups", GROUPS[at]], TlsVersion::Tls13),
                (&["-tls1_2", "-cipher", SUITES_12[at], "-groups", GROUPS[at]], TlsVersion::Tls12),
            ];
            for (arguments, version) in rows {
                // OpenSSL's names of suites in TLS 1.2 begin with the key exchange; a part of a name selects all.
                let server = Server::start(&files, &leaf, &with_exchange(arguments));
                let connector = TlsConnector::new(root.roots()).unwrap();
                for is_resumed in [false, true] {
                    let mut stream = server.connect(&connector).await.unwrap();
                    turn_around(&mut stream).await;
                    assert_eq!(stream.info().version(), version, "{arguments:?}");
                    assert_eq!(stream.info().is_resumed(), is_resumed, "{arguments:?}");
                    stream.close().await.unwrap();
                }
            }
        }
    }
}

fn with_exchange<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let name = |name| match name {
        "AES128-GCM-SHA256" => "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256",
        "AES256-GCM-SHA384" => "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384",
        "CHACHA20-POLY1305" => "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305",
        other => other,
    };
    arguments.iter().map(|argument| name(argument)).collect()
}

#[unikernel_rt::test]
async fn servers_with_bad_chains_are_refused() {
    let files = Files::new("chains");
    let root = Authority::new("root");
    let between = root.intermediate("between");
    let connector = TlsConnector::new(root.roots()).unwrap();
    for (leaf, rejection) in [
        (between.leaf(&["a.test"]), Some(Rejection::UnknownIssuer)),
        (between.leaf(&["a.test"]).with(&between), None),
        (Leaf::self_signed(&["a.test"]), Some(Rejection::UnknownIssuer)),
    ] {
        let server = Server::start(&files, &leaf, &[]);
        let refused = server.connect(&connector).await.err();
        assert_eq!(refused, rejection.map(TlsError::Certificate));
    }
}

#[unikernel_rt::test]
async fn servers_that_want_certificates_get_them() {
    let files = Files::new("wanted");
    let root = Authority::new("root");
    let ca = files.put("ca.pem", &root.pem());
    let arguments = ["-Verify", "1", "-verify_return_error", "-CAfile", &ca];
    let server = Server::start(&files, &root.leaf(&["a.test"]), &arguments);
    let identity: Identity = root.leaf(&["client"]).identity();
    let connector = TlsConnector::builder(root.roots()).identity(identity).build().unwrap();
    turn_around(&mut server.connect(&connector).await.unwrap()).await;
    let connector = TlsConnector::new(root.roots()).unwrap();
    let mut stream = server.connect(&connector).await.unwrap();
    assert!(matches!(stream.read(&mut [0; 9]).await, Err(TlsError::Alert(_))));
}
