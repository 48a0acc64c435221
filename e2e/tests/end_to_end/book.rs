//! What the book shows of terminals is typed, and has to look as it does there.

use crate::user::User;
use e2e::{
    PATIENCE, image,
    output::Output,
    transcript::{Step, shows, transcripts},
    vm::free_port,
};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    env, fs,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

/// A page, and how somebody types what is on it.
struct Page {
    name: &'static str,
    /// What is typed in place of words of the page; `{0}` and `{1}` are free ports, `{home}` is a folder of
    /// the reader's, `{hello}` is a finished image. A command that becomes empty is left out.
    instead: &'static [(&'static str, &'static str)],
    /// In what is printed, words for which others may stand.
    alike: &'static [(&'static str, &'static str)],
    /// The images that it starts, which are built before somebody waits for them.
    images: &'static [&'static str],
    /// What commands begin with that run until the page ends, or until Ctrl-C is typed.
    lasting: &'static [&'static str],
    /// Whether the reader sits in a checkout.
    has_checkout: bool,
}

impl Page {
    /// The same words for what may differ.
    fn alike(&self, text: &str) -> String {
        self.alike.iter().fold(text.to_owned(), |text, (one, other)| text.replace(one, other))
    }
}

/// Transcripts whose commands are not typed here, by the first of them, and the tests that do the same.
const ELSEWHERE: [(&str, &str, &str); 9] = [
    (
        "clouds.md",
        "cargo unikernel instance create web -p my-app --release --provider aws",
        "clouds, of cargo-unikernel: in a cloud that a server plays",
    ),
    ("debugging.md", "cargo unikernel debug -p hello --break src/main.rs:15", "debugger, at gdb's own prompt"),
    ("debugging.md", "cargo unikernel dump", "debugger: it is of a machine that has crashed"),
    ("embedding.md", "cargo run --release -p on-linux -- tap0 10.9.0.2/24", "appliance: root has made a tap before"),
    (
        "first-app.md",
        "cargo run --release -- --port 9000:8080 --memory 32M --machine microvm ip=10.0.2.20/24",
        "machines and new: the release build of an app of one's own takes minutes",
    ),
    ("networks.md", "sudo cargo-unikernel net up bridge=unikernel0", "networks: it is root who does it"),
    ("networks.md", "cargo unikernel run -p static-site --net netns", "networks: where users may make namespaces"),
    (
        "boot-disks.md",
        "mcopy -i my-app.img@@2M ::/unikernel/boot-arguments.txt .",
        "images: the same, and what becomes of it",
    ),
    (
        "boot-disks.md",
        "cargo unikernel image create --release -p my-app --env GREETING='hello to all' --env-file deploy.env -o my-app.img",
        "images, and image_files of the command: the same, and what a machine finds",
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is in the repository").to_owned()
}

fn transcripts_of(page: &str) -> Vec<Vec<Step>> {
    let text = fs::read_to_string(root().join("book/src").join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
    transcripts(&text)
}

fn is_elsewhere(page: &str, transcript: &[Step]) -> bool {
    ELSEWHERE.iter().any(|(other, first, _)| *other == page && *first == transcript[0].command)
}

/// What is typed may build something.
const BUILD_PATIENCE: Duration = Duration::from_secs(PATIENCE.as_secs() * 10);

/// A terminal in which a command runs.
struct Terminal {
    process: Child,
    output: Output,
}

impl Terminal {
    /// Waits until this is to be seen, or the command has ended; whether it was.
    fn waits_for(&self, is_seen: impl Fn(&str) -> bool) -> bool {
        let deadline = Instant::now() + BUILD_PATIENCE;
        while !self.output.has_ended() && !is_seen(&self.output.said()) && Instant::now() < deadline {
            self.output.wait(&is_seen);
        }
        is_seen(&self.output.said())
    }

    /// Types Ctrl-C.
    fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    fn signal(&self, signal: Signal) {
        let group = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).expect("is a process");
        // It may have ended by itself.
        let _ = kill_process_group(group, signal);
    }

    /// Its exit code.
    fn ends(&mut self, command: &str) -> i32 {
        self.waits_for(|_| false);
        assert!(self.output.has_ended(), "`{command}` does not end:\n{}", self.output.said());
        let status = self.process.wait().expect("is our child");
        // As a shell says it.
        status.code().unwrap_or_else(|| 128 + status.signal().expect("it is one or the other"))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.process.wait();
    }
}

/// Somebody who types what is on a page.
struct Reader {
    user: User,
    page: &'static Page,
    ports: [String; 2],
    /// What was typed that later commands see: other folders, variables.
    before: Vec<String>,
    /// The exit code of the last command.
    code: i32,
    lasting: Vec<(String, Terminal)>,
}

impl Reader {
    /// The command as it is typed here.
    fn typed(&self, command: &str) -> String {
        let words = |text: String, (page, here): &(&str, &str)| text.replace(page, here);
        let typed = self.page.instead.iter().fold(command.to_owned(), words);
        let typed = typed.replace("{0}", &self.ports[0]).replace("{1}", &self.ports[1]);
        let typed = typed.replace("{home}", &self.user.folder().to_string_lossy());
        let typed = match typed.contains("{hello}") {
            true => typed.replace("{hello}", &image::image("hello").to_string_lossy()),
            false => typed,
        };
        match self.page.has_checkout {
            // The command itself: in a checkout cargo builds it first, and waits for what other tests build.
            true => typed.replace("cargo unikernel ", &format!("{} ", image::tool().display())),
            false => typed,
        }
    }

    fn start(&self, typed: &str) -> Terminal {
        let folder = if self.page.has_checkout { root() } else { self.user.folder() };
        let script = format!("exec 2>&1\n{}\n(exit {})\n{typed}", self.before.join("\n"), self.code);
        let mut command = self.user.command(&folder, "env", &["--default-signal=INT", "bash", "-c", &script]);
        if self.page.has_checkout {
            let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the folder of builds");
            command.env("CARGO_TARGET_DIR", target);
            // There `cargo unikernel` is the checkout's own, and another one elsewhere would be warned of.
            command.env("PATH", env::var_os("PATH").unwrap_or_default());
        }
        command.env("CARGO_TERM_QUIET", "true").stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        let mut process = command.spawn().expect("bash starts");
        let stdout = process.stdout.take().expect("is piped");
        Terminal { process, output: Output::of(vec![Box::new(stdout)]) }
    }

    fn types(&mut self, step: &Step) {
        let typed = self.typed(&step.command);
        if typed.is_empty() {
            return;
        }
        if typed.starts_with("cd ") || typed.starts_with("export ") {
            return self.before.push(typed);
        }
        let mut terminal = self.start(&typed);
        let page = self.page;
        let is_lasting = page.lasting.iter().any(|start| step.command.starts_with(start));
        let (root, home) = (root(), format!("{}/", self.user.folder().display()));
        let shows = |lines: &[String], said: &str| {
            shows(lines, &page.alike(&said.replace(&home, "").replace(&*root.to_string_lossy(), CHECKOUT)))
        };
        let check = |lines: &[String], said: &str, is_so: bool| {
            assert!(is_so, "{}: `{typed}` printed\n{said}\nand the page has\n{}", page.name, lines.join("\n"));
        };
        let alike = |line: &String| page.alike(line);
        let mut lines: Vec<String> = step.output.iter().map(alike).collect();
        if is_lasting {
            let is_seen = terminal.waits_for(|said| shows(&lines, said));
            check(&lines, &terminal.output.said(), is_seen);
        }
        if let Some(after) = &step.after_interrupt {
            terminal.interrupt();
            // It may have gone on until then.
            lines.push("…".to_owned());
            lines.extend(after.iter().map(alike));
        }
        if is_lasting && step.after_interrupt.is_none() {
            self.lasting.push((typed, terminal));
            return;
        }
        self.code = terminal.ends(&typed);
        let said = terminal.output.said();
        // An exit code is a number that may not differ.
        let is_same = typed != "echo $?" || lines.join("\n").trim() == said.trim();
        check(&lines, &said, is_same && shows(&lines, &said));
    }

    /// Ends what still runs, the last first.
    fn leaves(mut self) {
        while let Some((typed, mut terminal)) = self.lasting.pop() {
            terminal.interrupt();
            terminal.ends(&typed);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // After a failure some are left.
        let instances = fs::read_dir(self.user.home().join(".local/state/unikernel/instances"));
        for instance in instances.into_iter().flatten().flatten() {
            let name = instance.file_name().to_string_lossy().into_owned();
            let words = ["instance", "delete", "--now", &name];
            let _ = self.user.command(&self.user.folder(), "cargo-unikernel", &words).status();
        }
    }
}

/// Where the book has the checkout of its reader.
const CHECKOUT: &str = "/home/me/unikernel";

fn check(page: &'static Page) {
    image::tool();
    page.images.iter().for_each(|package| drop(image::image(package)));
    let ports = [free_port(), free_port()].map(|port| port.to_string());
    let mut reader = Reader { user: User::new(), page, ports, before: Vec::new(), code: 0, lasting: Vec::new() };
    let typed = transcripts_of(page.name).into_iter().filter(|transcript| !is_elsewhere(page.name, transcript));
    let mut count = 0;
    for step in typed.flatten() {
        reader.types(&step);
        count += 1;
    }
    assert!(count > 0, "{}: nothing to type", page.name);
    reader.leaves();
}

/// A page that is typed as it stands, in a checkout.
const PLAIN: Page = Page { name: "", instead: &[], alike: &[], images: &[], lasting: &[], has_checkout: true };

/// Pages of the workspace's packages take their release images, which all tests share: the profile shows in nothing they print.
const PAGES: [Page; 7] = [
    Page {
        name: "first-app.md",
        instead: &[
            // They are there, and it is on the PATH.
            ("rustup target add x86_64-unknown-none x86_64-unknown-uefi", ""),
            ("cargo install --path cargo-unikernel", ""),
            ("cargo run", "cargo run -- --port {0}:8080"),
        ],
        lasting: &["cargo run"],
        has_checkout: false,
        ..PLAIN
    },
    Page {
        name: "images.md",
        instead: &[("--release -p my-app", "--image {hello}"), ("web.qcow2", "{home}/web.qcow2")],
        ..PLAIN
    },
    Page {
        name: "looking-inside.md",
        instead: &[
            ("$(openssl rand -hex 16)", "0123456789abcdef0123456789abcdef"),
            ("-p my-app --port 8080:", "--release -p e2e-guest --port {0}:"),
            ("--port 9091:", "--port {1}:"),
            ("localhost:9091", "localhost:{1}"),
            ("localhost:8080", "localhost:{0}"),
            // Else it says nothing before its end.
            ("wrk ", "stdbuf -oL wrk "),
            // It works until the page ends, however busy the computer is.
            ("-d60 ", "-d600 "),
        ],
        // What a task does at the moment, which of two takes more time, and what is in a frame.
        alike: &[
            ("ready", "waiting"),
            ("running", "waiting"),
            ("http connection", "network"),
            ("HTTP 171 HTTP/1.1 200 OK  (text/plain)", "…"),
        ],
        images: &["e2e-guest"],
        lasting: &["cargo unikernel run", "cargo unikernel ping", "wrk"],
        ..PLAIN
    },
    Page {
        name: "networks.md",
        instead: &[("run -p", "run --release -p"), ("--port 8080:", "--port {0}:")],
        images: &["static-site", "proxy"],
        lasting: &["cargo unikernel run"],
        ..PLAIN
    },
    Page {
        name: "operations.md",
        instead: &[("-p 8080:", "-p {0}:")],
        images: &["static-site"],
        lasting: &["cargo unikernel instance logs"],
        ..PLAIN
    },
    Page {
        name: "security.md",
        instead: &[
            ("--features unprotected", "--profile variant --features unprotected"),
            ("selftest --target", "selftest --release --target"),
        ],
        images: &["selftest", "selftest+unprotected"],
        ..PLAIN
    },
    Page {
        name: "stopping.md",
        instead: &[("run -p", "run --release -p")],
        images: &["static-site"],
        lasting: &["cargo unikernel run"],
        ..PLAIN
    },
];

fn page(name: &str) {
    check(PAGES.iter().find(|page| page.name == name).expect("it is listed"));
}

#[test]
fn first_app() {
    page("first-app.md");
}

#[test]
fn images() {
    page("images.md");
}

#[test]
fn looking_inside() {
    page("looking-inside.md");
}

#[test]
fn networks() {
    page("networks.md");
}

#[test]
fn operations() {
    page("operations.md");
}

#[test]
fn security() {
    page("security.md");
}

#[test]
fn stopping() {
    page("stopping.md");
}

#[test]
fn each_transcript_is_typed_somewhere() {
    let names = fs::read_dir(root().join("book/src")).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap()).filter(|name| name.ends_with(".md"));
    let mut elsewhere = 0;
    for name in names {
        for transcript in transcripts_of(&name) {
            let is_elsewhere = is_elsewhere(&name, &transcript);
            elsewhere += usize::from(is_elsewhere);
            let is_typed = PAGES.iter().any(|page| page.name == name);
            assert!(is_typed || is_elsewhere, "{name}: `{}` is typed nowhere", transcript[0].command);
        }
    }
    assert_eq!(elsewhere, ELSEWHERE.len(), "what is listed is there");
}
