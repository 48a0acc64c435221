//! A server that answers as AWS does (moto), AWS' own client for Python to look at it, and a way between that goes wrong on request.

use crate::support::{Shown, Stage};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// What the server believes of everybody.
const CREDENTIALS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "moto"), ("AWS_SECRET_ACCESS_KEY", "moto"), ("AWS_REGION", "eu-central-1")];

/// A cloud of its own for one test; ends when it is dropped.
pub struct Moto {
    server: Child,
    pub url: String,
}

fn program(name: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/moto-python/bin").join(name);
    assert!(file.exists(), "{} is missing; `script/test` installs it", file.display());
    file
}

impl Moto {
    pub fn new() -> Moto {
        let mut server = Command::new(program("moto_server"));
        server.args(["-H", "127.0.0.1", "-p", "0"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut server = server.spawn().unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map(Result::unwrap);
        let url = lines.find_map(|line| Some(line.split_once("Running on ")?.1.trim().to_owned()));
        // It goes on to write a line for each request.
        thread::spawn(move || lines.for_each(drop));
        Moto { server, url: url.expect("moto says where it listens") }
    }

    /// `cargo-unikernel instance --provider aws WORDS`, in this cloud.
    pub fn command(&self, stage: &Stage, words: &str) -> Command {
        command_at(&self.url, stage, words)
    }

    pub fn run(&self, stage: &Stage, words: &str) -> Shown {
        Shown::of(self.command(stage, words).output().unwrap(), stage.folder.path())
    }

    /// What a program for AWS' client says, as JSON: `ec2` and `ebs` are clients, `folder` is the stage's; it calls `say`.
    pub fn ask(&self, stage: &Stage, program_text: &str) -> serde_json::Value {
        let clients = "import boto3, json, sys\nfolder = sys.argv[1]\n\
                       def say(value): print(json.dumps(value, default=str))\n\
                       ec2, ebs = (boto3.client(name, endpoint_url=sys.argv[2]) for name in ('ec2', 'ebs'))\n";
        let mut python = Command::new(program("python"));
        python.args(["-c", &format!("{clients}{program_text}")]).arg(stage.folder.path()).arg(&self.url);
        let output = python.env("AWS_DEFAULT_REGION", "eu-central-1").envs(CREDENTIALS).output().unwrap();
        let shown = Shown::of(output, stage.folder.path());
        assert_eq!(shown.code, 0, "{program_text}: {shown:?}");
        serde_json::from_str(&shown.stdout).unwrap_or_else(|error| panic!("{error}: {shown:?}"))
    }

    /// Everything that was made and is still there: machines that are not gone, images, snapshots with our tags.
    pub fn left(&self, stage: &Stage) -> Vec<String> {
        let found = self.ask(
            stage,
            "machines = [i for r in ec2.describe_instances()['Reservations'] for i in r['Instances']]\n\
             ids = [i['InstanceId'] for i in machines if i['State']['Name'] != 'terminated']\n\
             ids += [i['ImageId'] for i in ec2.describe_images(Owners=['self'])['Images']]\n\
             ours = [{'Name': 'tag:unikernel:managed', 'Values': ['cargo-unikernel']}]\n\
             ids += [s['SnapshotId'] for s in ec2.describe_snapshots(Filters=ours)['Snapshots']]\n\
             say(ids)\n",
        );
        serde_json::from_value(found).unwrap()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

/// The same in a cloud at this address. Nothing of who runs the test is seen.
pub fn command_at(url: &str, stage: &Stage, words: &str) -> Command {
    alone(stage.command(&format!("instance --provider aws {words}")), url, stage)
}

/// A command that speaks to the cloud there, whatever the environment says of others.
pub fn alone(mut command: Command, url: &str, stage: &Stage) -> Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    // Where there are credentials and metadata, they are not asked for.
    command.env("HOME", stage.path("home")).env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_ENDPOINT_URL", url).envs(CREDENTIALS);
    command
}

/// A stage with a disk that starts by itself, `disk`.
pub fn stage_with_disk(arguments: &str) -> Stage {
    let stage = Stage::new();
    let made = stage.run(&format!("image create --image app -o disk {arguments}"));
    assert_eq!(made.code, 0, "{made:?}");
    stage
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq)]
pub enum Fate {
    /// It goes through.
    Through,
    /// It never arrives; whoever sent it waits.
    Held,
    /// The server does what it asks for, and nobody hears of it.
    AnswerLost,
    /// From now on nobody is there any more.
    Gone,
}

/// The way to a cloud. It tells of each request whose fate is not to go through.
pub struct Way {
    pub url: String,
    news: Receiver<String>,
}

impl Way {
    /// Decides by the first bytes of a request: its head, and the body of a short one.
    pub fn to(moto: &Moto, fate: impl Fn(&str) -> Fate + Clone + Send + 'static) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = moto.url.trim_start_matches("http://").to_owned();
        let (sender, news) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        thread::spawn(move || {
            for client in listener.incoming() {
                if ended.try_recv().is_ok() {
                    return;
                }
                let (fate, sender, end, server) = (fate.clone(), sender.clone(), end.clone(), server.clone());
                let address = listener.local_addr().unwrap();
                thread::spawn(move || {
                    // A client that is killed closes its connection, which is no fault.
                    if relay(client.unwrap(), &server, fate, &sender).is_none() {
                        end.send(()).unwrap();
                        // It is waiting for the next one.
                        let _ = TcpStream::connect(address);
                    }
                });
            }
        });
        Way { url, news }
    }
}

/// Request by request, until either side closes; `None` when everything is to end.
fn relay(mut client: TcpStream, server: &str, fate: impl Fn(&str) -> Fate, news: &Sender<String>) -> Option<()> {
    let mut upstream = TcpStream::connect(server).unwrap();
    let (mut answers, mut back) = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
    let answering = thread::spawn(move || {
        let _ = std::io::copy(&mut answers, &mut back);
        let _ = back.shutdown(Shutdown::Both);
    });
    let mut bytes = vec![0; 1 << 20];
    while let Ok(len @ 1..) = client.read(&mut bytes) {
        let request = String::from_utf8_lossy(&bytes[..len]).into_owned();
        let fate = fate(&request);
        if fate != Fate::Through {
            let _ = news.send(request);
        }
        match fate {
            Fate::Through => drop(upstream.write_all(&bytes[..len])),
            // Until whoever waits has had enough.
            Fate::Held => drop(std::io::copy(&mut client, &mut std::io::sink())),
            Fate::AnswerLost => {
                client.shutdown(Shutdown::Both).unwrap();
                upstream.write_all(&bytes[..len]).unwrap();
                // It is done when the server has said so.
                upstream.shutdown(Shutdown::Write).unwrap();
                answering.join().unwrap();
                return Some(());
            }
            Fate::Gone => {
                let _ = client.shutdown(Shutdown::Both);
                return None;
            }
        }
    }
    let _ = upstream.shutdown(Shutdown::Both);
    Some(())
}

impl Way {
    /// Waits for a request with these words, which does not go through. A command that sends none shows why.
    pub fn wait_for(&self, words: &str, child: &mut Child) {
        while let Ok(request) = self.news.recv_timeout(PATIENCE) {
            if request.contains(words) {
                return;
            }
        }
        let _ = child.kill();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        panic!("the request was not sent: {said}");
    }
}

/// Starts it, with all that it shows kept.
pub fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The bytes of a file.
pub fn bytes(stage: &Stage, name: &str) -> Vec<u8> {
    fs::read(stage.path(name)).unwrap()
}
