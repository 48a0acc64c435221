//! The guest to compare with: Debian's kernel, busybox and nginx in an initial file system that is
//! put together here. Nothing is installed; the packages are unpacked in the cache folder.

mod cpio;
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
}

/// Another name for every change of what is in the guest, so that no old one is measured.
const FOLDER: &str = "linux-1";

impl Linux {
    /// Where the guest's files are, once [`prepare`](Self::prepare) has made them.
    pub fn in_cache(cache: &Path) -> Linux {
        let file = |name: &str| cache.join(FOLDER).join(name);
        Linux { kernel: file("vmlinuz"), full: file("full.cpio"), small: file("small.cpio") }
    }

    /// Downloads what is missing and writes the initial file systems. Quick when done before.
    pub fn prepare(cache: &Path) -> Result {
        let linux = Linux::in_cache(cache);
        if [&linux.kernel, &linux.full, &linux.small].iter().all(|file| file.exists()) {
            return Ok(());
        }
        let folder = cache.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let unpacked = packages::fetch(&folder)?;
        fs::write(&linux.small, initial_files(&unpacked, &[])?)?;
        let large = [("10m.bin", content(FILE_LENS[2]))];
        fs::write(&linux.full, initial_files(&unpacked, &large)?)?;
        // Last, since an interrupted preparation must not look finished.
        fs::copy(unpacked.kernel()?, &linux.kernel)?;
        Ok(())
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
            arguments: "console=ttyS0 quiet".into(),
            machine: Machine::Q35,
            memory_mib: 256,
            port: 80,
        }
    }
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
$B mount -t devtmpfs dev /dev
for m in MODULES; do [ -e /lib/modules/$m ] && $B insmod /lib/modules/$m; done
$B ifconfig lo 127.0.0.1 up
$B ifconfig eth0 10.77.0.2 netmask 255.255.255.0 up
ulimit -n 65536
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
        root /srv/www;
        index index.html;
        location = /hello { default_type text/plain; return 200 "Hello, World!"; }
    }
}
"#;

/// The initial file system, with more files to serve than the usual ones.
fn initial_files(unpacked: &Unpacked, more: &[(&str, Vec<u8>)]) -> Result<Vec<u8>> {
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
    for (name, bytes) in more {
        archive.file(&format!("srv/www/{name}"), bytes);
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
fn page() -> String {
    const HEAD: &str = "<!doctype html><html><body><p>";
    const TAIL: &str = "</p></body></html>\n";
    let filler = FILE_LENS[0] - HEAD.len() - TAIL.len();
    let words: String = "the quick brown fox jumps over the lazy dog. ".chars().cycle().take(filler).collect();
    format!("{HEAD}{words}{TAIL}")
}

/// Bytes that compress badly and are the same every time (xorshift).
fn content(len: usize) -> Vec<u8> {
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
