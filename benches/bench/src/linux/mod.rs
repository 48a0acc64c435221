//! The guest to compare with: Debian's kernel, busybox and nginx in an initial file system that is
//! put together here. Nothing is installed; the packages are unpacked in the cache folder.
//!
//! Beside nginx, which serves on ports 80 and 443, a program of ours takes uploads on port 8080. The guest whose disk is
//! measured is another one, without a network ([`disk`]).

mod cpio;
mod disk;
mod packages;

use std::fs;
use std::path::{Path, PathBuf};

use cpio::Archive;
use packages::Unpacked;

use crate::cases::FILE_LENS;
use crate::vm::{Guest, Machine};
use crate::{Result, error};

/// The finished guest's files.
pub struct Linux {
    kernel: PathBuf,
    /// With all that is served.
    full: PathBuf,
    /// Without the 10 MiB file, for boot and memory, where its unpacking would count.
    small: PathBuf,
    /// With the program that works on a disk.
    disk: PathBuf,
}

/// Where the finished guest is. Others may run their guest while this one's is made, so it has a name for itself.
const FOLDER: &str = "linux-2";
/// The port of the program that takes uploads.
pub const UPLOAD_PORT: u16 = 8080;

impl Linux {
    /// Where the guest's files are, once [`prepare`](Self::prepare) has made them.
    pub fn in_cache(cache: &Path) -> Linux {
        let file = |name: &str| cache.join(FOLDER).join(name);
        Linux { kernel: file("vmlinuz"), full: file("full.cpio"), small: file("small.cpio"), disk: file("disk.cpio") }
    }

    /// Downloads what is missing and writes the initial file systems, with the `certificates`' folder and the program
    /// that takes uploads.
    pub fn prepare(cache: &Path, certificates: &Path, upload_sink: &Path) -> Result {
        let linux = Linux::in_cache(cache);
        let unpacked = packages::in_cache(cache)?;
        let mut more = Vec::new();
        for name in ["cert.pem", "key.pem"] {
            more.push((format!("etc/nginx/{name}"), fs::read(certificates.join(name))?));
        }
        fs::create_dir_all(cache.join(FOLDER))?;
        replace(&linux.small, &initial_files(&unpacked, &more)?)?;
        more.push(("srv/www/10m.bin".into(), content(FILE_LENS[2])));
        more.push(("bin/upload-sink".into(), fs::read(upload_sink)?));
        replace(&linux.full, &initial_files(&unpacked, &more)?)?;
        replace(&linux.kernel, &fs::read(unpacked.kernel()?)?)
    }

    /// The same for the guest with a disk, and the program that works on it.
    pub fn prepare_disk(cache: &Path, program: &Path) -> Result {
        let linux = Linux::in_cache(cache);
        let unpacked = packages::in_cache(cache)?;
        fs::create_dir_all(cache.join(FOLDER))?;
        replace(&linux.disk, &disk::initial_files(&unpacked, &fs::read(program)?)?)?;
        replace(&linux.kernel, &fs::read(unpacked.kernel()?)?)
    }

    /// The guest with everything it serves.
    pub fn guest(&self) -> Guest {
        self.with(&self.full)
    }

    /// The guest without its largest file.
    pub fn small_guest(&self) -> Guest {
        self.with(&self.small)
    }

    fn with(&self, initrd: &Path) -> Guest {
        Guest {
            kernel: self.kernel.clone(),
            initrd: Some(initrd.to_owned()),
            disk: None,
            arguments: "console=ttyS0 quiet".into(),
            machine: Machine::Q35,
            memory_mib: 256,
            port: 80,
        }
    }
}

/// What Linux and the tap agreed on, from the guest's console: a digit for each feature bit (virtio 1.2, 5.1.3).
pub fn offloads(console: &[u8]) -> String {
    const BITS: [(usize, &str); 7] = [
        (0, "CSUM"),
        (1, "GUEST_CSUM"),
        (7, "GUEST_TSO4"),
        (8, "GUEST_TSO6"),
        (11, "HOST_TSO4"),
        (12, "HOST_TSO6"),
        (15, "MRG_RXBUF"),
    ];
    let console = String::from_utf8_lossy(console);
    let features = console.lines().find_map(|line| line.strip_prefix("virtio-net features "));
    let Some(features) = features else { return "Linux did not tell the features of its network card".into() };
    let has = |bit: usize| features.as_bytes().get(bit) == Some(&b'1');
    let (there, missing): (Vec<_>, Vec<_>) = BITS.iter().partition(|(bit, _)| has(*bit));
    let names = |bits: Vec<&(usize, &str)>| bits.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
    let without = if missing.is_empty() { String::new() } else { format!(", without {}", names(missing)) };
    format!("Linux uses, of what both guests are offered: {}{without}", names(there))
}

/// Writes a file of which a guest that is being started may still read the older content.
fn replace(path: &Path, content: &[u8]) -> Result {
    let new = path.with_extension(format!("{}", std::process::id()));
    fs::write(&new, content)?;
    Ok(fs::rename(new, path)?)
}

/// In the order in which they depend on each other.
const MODULES: &[&str] = &[
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "net/core/failover.ko",
    "drivers/net/net_failover.ko",
    "drivers/net/virtio_net.ko",
];

const FOLDERS: &[&str] = &[
    "bin",
    "dev",
    "proc",
    "sys",
    "etc",
    "etc/nginx",
    "run",
    "tmp",
    "srv",
    "srv/www",
    "lib",
    "lib64",
    "lib/modules",
    "lib/x86_64-linux-gnu",
    "usr",
    "usr/sbin",
    "var",
    "var/log",
    "var/log/nginx",
    "var/lib",
    "var/lib/nginx",
];

const INIT: &str = "#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
for m in MODULES; do [ -e /lib/modules/$m ] && $B insmod /lib/modules/$m; done
$B ifconfig lo 127.0.0.1 up
$B ifconfig eth0 10.77.0.2 netmask 255.255.255.0 up
$B route add default gw 10.77.0.1
echo \"virtio-net features $($B cat /sys/class/net/eth0/device/features)\"
ulimit -n 65536
[ -x /bin/upload-sink ] && /bin/upload-sink &
exec /usr/sbin/nginx -g 'daemon off;'
";

const NGINX: &str = r#"user root;
worker_processes 1;
pid /run/nginx.pid;
error_log /dev/null crit;
events { worker_connections 20000; }
http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 600;
    client_header_timeout 600;
    keepalive_requests 100000000;
    access_log off;
    server_tokens off;
    server {
        listen 80 default_server;
        listen 443 ssl;
        ssl_certificate /etc/nginx/cert.pem;
        ssl_certificate_key /etc/nginx/key.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        root /srv/www;
        index index.html;
        location = /hello { default_type text/plain; return 200 "Hello, World!"; }
    }
}
"#;

/// The initial file system, with more files to serve than the usual ones.
fn initial_files(unpacked: &Unpacked, more: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    FOLDERS.iter().for_each(|folder| archive.folder(folder));
    archive.file("bin/busybox", &unpacked.read("bin/busybox")?);
    archive.link("bin/sh", "busybox");
    archive.file("etc/passwd", b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:n:/:/bin/false\n");
    archive.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n");
    add_modules(&mut archive, unpacked)?;
    add_nginx(&mut archive, unpacked)?;
    archive.file("srv/www/index.html", page().as_bytes());
    archive.file("srv/www/100k.bin", &content(FILE_LENS[1]));
    for (path, bytes) in more {
        archive.file(path, bytes);
    }
    Ok(archive.finish())
}

fn add_modules(archive: &mut Archive, unpacked: &Unpacked) -> Result {
    let names: Vec<&str> = MODULES.iter().map(|path| path.rsplit('/').next().unwrap_or(path)).collect();
    archive.file("init", INIT.replace("MODULES", &names.join(" ")).as_bytes());
    let mut found = 0;
    for (path, name) in MODULES.iter().zip(names) {
        // A module that is not there is built into the kernel.
        if let Ok(module) = unpacked.read(path) {
            archive.file(&format!("lib/modules/{name}"), &module);
            found += 1;
        }
    }
    if found == 0 {
        return Err(error("the kernel package has no virtio modules; leave Linux out with --no-linux"));
    }
    Ok(())
}

fn add_nginx(archive: &mut Archive, unpacked: &Unpacked) -> Result {
    let nginx = unpacked.read("sbin/nginx")?;
    for library in packages::libraries(unpacked, &nginx)? {
        let content = unpacked.read(&library)?;
        archive.file(&format!("lib/x86_64-linux-gnu/{library}"), &content);
    }
    archive.file("lib64/ld-linux-x86-64.so.2", &unpacked.read("ld-linux-x86-64.so.2")?);
    archive.file("usr/sbin/nginx", &nginx);
    archive.file("etc/nginx/mime.types", &unpacked.read("nginx/mime.types")?);
    archive.file("etc/nginx/nginx.conf", NGINX.as_bytes());
    Ok(())
}

/// A page of 600 bytes.
pub fn page() -> String {
    const HEAD: &str = "<!doctype html><html><body><p>";
    const TAIL: &str = "</p></body></html>\n";
    let filler = FILE_LENS[0] - HEAD.len() - TAIL.len();
    let words: String = "the quick brown fox jumps over the lazy dog. ".chars().cycle().take(filler).collect();
    format!("{HEAD}{words}{TAIL}")
}

/// Bytes that compress badly and are the same every time (xorshift).
pub fn content(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(console: &[u8], want: &str) {
        assert_eq!(offloads(console), want);
    }

    #[test]
    fn some_offloads() {
        let console = b"hello\r\nvirtio-net features 1100000110000001\r\n";
        let want = "Linux uses, of what both guests are offered: CSUM, GUEST_CSUM, GUEST_TSO4, GUEST_TSO6, MRG_RXBUF, \
                    without HOST_TSO4, HOST_TSO6";
        check(console, want);
    }

    #[test]
    fn no_word_of_offloads() {
        check(b"hello\r\n", "Linux did not tell the features of its network card");
    }
}
