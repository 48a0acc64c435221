//! nginx as a server behind what is tested: serves a folder, and takes files into it.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Instant,
};

use crate::{PATIENCE, client::PAUSE, vm};

/// A running nginx on 127.0.0.1. Dropping it ends it.
pub struct Nginx {
    process: Child,
    /// Where it listens.
    pub port: u16,
    /// Its configuration and its logs.
    home: PathBuf,
}

impl Nginx {
    /// Serves `folder`, on a port of its choice; answers `/name` with `name`. `home` is a folder for its own files.
    pub fn start(home: &Path, folder: &Path, name: &str) -> Nginx {
        Nginx::start_on(vm::free_port(), home, folder, name)
    }

    /// The same, on that port.
    pub fn start_on(port: u16, home: &Path, folder: &Path, name: &str) -> Nginx {
        fs::create_dir_all(home).expect("the folder can be made");
        let configuration = home.join("nginx.conf");
        fs::write(&configuration, text(port, home, folder, name)).expect("the folder can be written to");
        let mut command = Command::new("nginx");
        command.arg("-e").arg(home.join("errors")).arg("-c").arg(&configuration).arg("-p").arg(home);
        let process = command.stdout(Stdio::null()).spawn().expect("nginx starts; script/test installs it");
        let nginx = Nginx { process, port, home: home.into() };
        nginx.wait();
        nginx
    }

    fn wait(&self) {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let errors = || fs::read_to_string(self.home.join("errors")).unwrap_or_default();
            assert!(Instant::now() < deadline, "nginx does not listen:\n{}", errors());
            // A process that begins to listen gives no sign to others.
            thread::sleep(PAUSE);
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // One process, as the configuration asks for, so nothing is left behind.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn text(port: u16, home: &Path, folder: &Path, name: &str) -> String {
    let (home, folder) = (home.display(), folder.display());
    format!(
        "daemon off; master_process off; pid {home}/pid; error_log {home}/errors;
         events {{ worker_connections 512; }}
         http {{
             access_log off;
             client_body_temp_path {home}/body; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;
             uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
             client_max_body_size 1g; default_type application/octet-stream;
             server {{
                 listen 127.0.0.1:{port};
                 root {folder};
                 dav_methods PUT;
                 location = /name {{ return 200 '{name} $http_x_forwarded_proto'; }}
             }}
         }}"
    )
}
