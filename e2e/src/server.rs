//! Servers on this machine that guests use, each a process of its own. A guest reaches them at [`HOST`].

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Instant,
};

use crate::{PATIENCE, client};

/// Where QEMU's user network shows a guest this machine's loopback.
pub const HOST: &str = "10.0.2.2";

/// A running server. Dropping it ends it.
pub struct Server {
    process: Child,
    /// On 127.0.0.1.
    pub port: u16,
}

impl Server {
    /// Debian's Redis, without files.
    pub fn redis(port: u16) -> Server {
        let port_word = port.to_string();
        let words = ["--port", &port_word, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        Server::start("redis-server", &words, port)
    }

    /// Debian's mosquitto; with a port alone it serves the loopback only, and everybody there.
    pub fn mosquitto(port: u16) -> Server {
        Server::start("mosquitto", &["-p", &port.to_string()], port)
    }

    /// Chromium's driver.
    pub fn chromedriver(port: u16) -> Server {
        Server::start("chromedriver", &[&format!("--port={port}")], port)
    }

    /// rsyslog: what comes over UDP and TCP is in `folder`, as it came in `raw`, and as rsyslog understands it in `parsed`.
    pub fn rsyslog(port: u16, folder: &Path) -> Server {
        let place = folder.display();
        // Its inputs, two lines a message, and no other file anywhere.
        let configuration = format!(
            "global(workDirectory=\"{place}\" maxMessageSize=\"16k\" parser.escapeControlCharactersOnReceive=\"off\")\n\
             module(load=\"imudp\")\nmodule(load=\"imtcp\")\n\
             input(type=\"imudp\" address=\"127.0.0.1\" port=\"{port}\")\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")\n\
             template(name=\"raw\" type=\"string\" string=\"%rawmsg%\\n\")\n\
             template(name=\"parsed\" type=\"string\" string=\"%syslogfacility-text%.%syslogseverity-text% %hostname% \
             %app-name% %msgid% %timereported:::date-rfc3339% %structured-data% %msg%\\n\")\n\
             action(type=\"omfile\" file=\"{place}/raw\" template=\"raw\")\n\
             action(type=\"omfile\" file=\"{place}/parsed\" template=\"parsed\")\n"
        );
        let file = folder.join("rsyslog.conf");
        fs::write(&file, configuration).expect("the folder can be written");
        let (file, pid) = (file.display().to_string(), folder.join("pid").display().to_string());
        Server::start("rsyslogd", &["-n", "-f", &file, "-i", &pid], port)
    }

    /// Starts it and waits until it accepts connections.
    fn start(program: &str, words: &[&str], port: u16) -> Server {
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Debian has mosquitto where only root looks.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin"));
        let process = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; script/test installs it"));
        let mut server = Server { process, port };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = server.process.try_wait().expect("is our child");
            assert!(ended.is_none() && Instant::now() < deadline, "{program} does not listen: {ended:?}");
            thread::sleep(client::PAUSE);
        }
        server
    }

    /// Such as `redis=10.0.2.2:20001`.
    pub fn word(&self, key: &str) -> String {
        format!("{key}={HOST}:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
