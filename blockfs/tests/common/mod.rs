//! What a volume should hold, kept in memory beside it; and random work on both. For every format that can be written.
#![allow(dead_code, reason = "every test takes what it needs")]

use std::collections::BTreeMap;
use unikernel_blockfs::{Cause, Kind, Volume};
use unikernel_rt::sim::Random;

/// The content of a volume: files with their bytes, and folders.
pub type Tree = BTreeMap<String, Node>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    Folder,
    File(Vec<u8>),
}

/// Reads all of a volume.
pub async fn tree_of(volume: &Volume) -> Tree {
    let mut tree = Tree::new();
    for (path, kind) in volume.walk("").await.unwrap() {
        let node = match kind {
            Kind::Folder => Node::Folder,
            _ => Node::File(volume.read(&path, usize::MAX).await.unwrap().to_vec()),
        };
        tree.insert(path, node);
    }
    tree
}

/// Says where two trees differ, without their bytes.
pub fn difference(found: &Tree, expected: &Tree) -> Option<String> {
    let paths = found.keys().chain(expected.keys());
    let different = paths.into_iter().find(|path| found.get(*path) != expected.get(*path))?;
    let say = |node: Option<&Node>| match node {
        None => "nothing".to_string(),
        Some(Node::Folder) => "a folder".to_string(),
        Some(Node::File(bytes)) => format!("{} bytes {:02x?}…", bytes.len(), &bytes[..bytes.len().min(16)]),
    };
    Some(format!("{different}: {} instead of {}", say(found.get(different)), say(expected.get(different))))
}

const NAMES: [&str; 8] = ["a", "b", "log.txt", "data.bin", "x", "y", "ünïcödé", ""];

/// Random work. `tree` is what the volume holds when every call so far is done.
pub struct Work {
    random: Random,
    pub tree: Tree,
}

impl Work {
    pub fn new(seed: u64) -> Work {
        Work { random: Random::new(seed), tree: Tree::new() }
    }

    /// Goes on with what a volume holds.
    pub fn on(tree: Tree, seed: u64) -> Work {
        Work { random: Random::new(seed), tree }
    }

    /// One operation. `done` is called with the tree after each call that changes what is on the disk.
    pub async fn operate(&mut self, volume: &Volume, done: &mut impl FnMut(&Tree)) {
        match self.random.below(100) {
            0..25 => self.create(volume, done).await,
            25..40 => self.change(volume, done).await,
            40..55 => self.append(volume, done).await,
            55..63 => self.truncate(volume, done).await,
            63..73 => self.rename(volume, done).await,
            73..83 => self.remove(volume, done).await,
            83..91 => self.create_folder(volume, done).await,
            _ => self.look(volume).await,
        }
    }

    async fn create(&mut self, volume: &Volume, done: &mut impl FnMut(&Tree)) {
        let path = self.any_path();
        let file = match volume.create(&path).await {
            Err(error) => return self.expect(&path, error.cause(), Some(Cause::IsAFolder)),
            Ok(file) => file,
        };
        self.tree.entry(path.clone()).or_insert(Node::File(Vec::new()));
        done(&self.tree);
        let content = self.content();
        let mut at = 0;
        while at < content.len() {
            let len = (content.len() - at).min(1 + self.random.below(20_000));
            file.write_at(at as u64, &content[at..at + len]).await.unwrap();
            at += len;
        }
        self.tree.insert(path, Node::File(content));
        self.finish(volume, file, done).await;
    }

    async fn change(&mut self, volume: &Volume, done: &mut impl FnMut(&Tree)) {
        let Some((path, mut content)) = self.any_file() else { return };
        let file = volume.edit(&path).await.unwrap();
        for _ in 0..=self.random.below(3) {
            let (at, bytes) = (self.random.below(content.len() + 3000), self.content());
            file.write_at(at as u64, &bytes).await.unwrap();
            if !bytes.is_empty() {
                content.resize(content.len().max(at + bytes.len()), 0);
                content[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            assert_eq!(file.len(), content.len() as u64);
        }
        let read = file.read_all(usize::MAX).await.unwrap();
        assert!(read == content, "{path} differs before it is synced");
        self.tree.insert(path, Node::File(content));
        self.finish(volume, file, done).await;
    }

    async fn append(&mut self, volume: &Volume, done: &mut impl FnMut(&Tree)) {
        use embedded_io_async::Write;
        let path = self.any_path();
        let mut file = match volume.append(&path).await {
            Err(error) => return self.expect(&path, error.cause(), Some(Cause::IsAFolder)),
            Ok(file) => file,
        };
        self.tree.entry(path.clone()).or_insert(Node::File(Vec::new()));
        done(&self.tree);
        let bytes = self.content();
        file.write_all(&bytes).await.unwrap();
        match self.tree.get_mut(&path) {
            Some(Node::File(content)) => content.extend(bytes),
            _ => unreachable!("it is a file"),
        }
        self.finish(volume, file, done).await;
    }

    async fn truncate(&mut self, volume: &Volume, done: &mut impl FnMut(&Tree)) {
        let Some((path, mut content)) = self.any_file() else { return };
        let len = self.random.below(content.len() * 5 / 4 + 2);
        let file = volume.edit(&path).await.unwrap();
        file.truncate(len as u64).await.unwrap();
        content.resize(len, 0);
        self.tree.insert(path, Node::File(content));
        self.finish(volume, file, done).await;
    }

    /// Syncs the file, or lets it be closed in the background.
    async fn finish(&mut self, volume: &Volume, file: unikernel_blockfs::File, done: &mut impl FnMut(&Tree)) {
        if self.random.chance(700) {
            file.sync().await.unwrap();
            done(&self.tree);
            drop(file);
        } else {
            drop(file);
            volume.sync().await.unwrap();
            done(&self.tree);
        }
    }

    async fn rename(&mut self, volume: &Volume, done: &mut impl FnMut(&Tree)) {
        let from = self.any_path_there().unwrap_or_default();
        let to = self.any_path();
        let is_inside = from.is_empty() || to.starts_with(&format!("{from}/"));
        let replaces = match (self.tree.get(&from), self.tree.get(&to)) {
            (Some(Node::File(_)), Some(Node::File(_))) | (Some(_), None) => true,
            _ => from == to,
        };
        let result = volume.rename(&from, &to).await;
        if is_inside || !replaces {
            assert!(result.is_err(), "{from} became {to}");
            return;
        }
        result.unwrap();
        let moved: Vec<String> = self.tree.keys().filter(|path| is_at_or_below(path, &from)).cloned().collect();
        let moved: Vec<_> = moved.into_iter().map(|path| (path.clone(), self.tree.remove(&path))).collect();
        for (path, node) in moved {
            self.tree.insert(format!("{to}{}", &path[from.len()..]), node.expect("it was there"));
        }
        done(&self.tree);
    }

    async fn remove(&mut self, volume: &Volume, done: &mut impl FnMut(&Tree)) {
        let Some(path) = self.any_path_there() else { return };
        let is_full = self.tree.keys().any(|other| other.starts_with(&format!("{path}/")));
        match volume.remove(&path).await {
            Err(error) => assert!(is_full && *error.cause() == Cause::NotEmpty, "{error}"),
            Ok(()) => {
                assert!(!is_full, "{path} was not empty");
                self.tree.remove(&path);
                done(&self.tree);
            }
        }
    }

    async fn create_folder(&mut self, volume: &Volume, done: &mut impl FnMut(&Tree)) {
        let path = self.any_path();
        match volume.create_folder(&path).await {
            Err(error) => assert!(self.tree.contains_key(&path) && *error.cause() == Cause::Exists, "{error}"),
            Ok(()) => {
                assert!(self.tree.insert(path, Node::Folder).is_none(), "there was something");
                done(&self.tree);
            }
        }
    }

    /// Reads something, in pieces from anywhere, and looks for what is not there.
    async fn look(&mut self, volume: &Volume) {
        if let Some((path, content)) = self.any_file() {
            let file = volume.open(&path).await.unwrap();
            assert_eq!(file.len(), content.len() as u64);
            for _ in 0..5 {
                let (at, len) = (self.random.below(content.len() + 1), self.random.below(30_000));
                let mut bytes = vec![0; len];
                let read = file.read_exact_at(at as u64, &mut bytes).await.unwrap();
                assert!(bytes[..read] == content[at..content.len().min(at + len)], "{path} at {at}");
            }
            assert_eq!(volume.metadata(&path).await.unwrap().len, content.len() as u64);
        }
        let absent = format!("{}.absent", self.any_path());
        assert_eq!(*volume.open(&absent).await.unwrap_err().cause(), Cause::NotFound);
        assert_eq!(*volume.remove(&absent).await.unwrap_err().cause(), Cause::NotFound);
        assert_eq!(*volume.create(&format!("{absent}/x")).await.unwrap_err().cause(), Cause::NotFound);
    }

    /// An error that the tree explains.
    fn expect(&self, path: &str, cause: &Cause, folder: Option<Cause>) {
        let expected = matches!(self.tree.get(path), Some(Node::Folder)).then_some(folder).flatten();
        assert_eq!(Some(cause), expected.as_ref(), "{path}");
    }

    /// A path in a folder that is there.
    fn any_path(&mut self) -> String {
        let depth = |path: &str| path.matches('/').count();
        let folders = self.tree.iter().filter(|(path, node)| **node == Node::Folder && depth(path) < 3);
        let folders: Vec<&String> = folders.map(|(path, _)| path).collect();
        let name = match NAMES[self.random.below(NAMES.len())] {
            "" => "long name ".repeat(20) + &self.random.below(3).to_string(),
            name => name.to_string(),
        };
        match self.random.below(folders.len() + 1) {
            0 => name,
            number => format!("{}/{name}", folders[number - 1]),
        }
    }

    fn any_path_there(&mut self) -> Option<String> {
        let number = self.random.below(self.tree.len().max(1));
        self.tree.keys().nth(number).cloned()
    }

    fn any_file(&mut self) -> Option<(String, Vec<u8>)> {
        let files: Vec<_> = self.tree.iter().filter(|(_, node)| **node != Node::Folder).collect();
        let (path, node) = files.get(self.random.below(files.len().max(1)))?;
        match node {
            Node::File(content) => Some((path.to_string(), content.clone())),
            Node::Folder => None,
        }
    }

    fn content(&mut self) -> Vec<u8> {
        let len = match self.random.below(20) {
            0 => 0,
            1..10 => self.random.below(600),
            10..17 => self.random.below(6000),
            17..19 => self.random.below(30_000),
            _ => self.random.below(100_000),
        };
        let mut bytes = vec![0; len];
        self.random.fill(&mut bytes);
        bytes
    }
}

fn is_at_or_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// How many seeds a test tries: so many, or what the variable says.
pub fn seeds(default: u64) -> std::ops::Range<u64> {
    let wanted = std::env::var("BLOCKFS_SEEDS").ok().and_then(|count| count.parse().ok());
    0..wanted.unwrap_or(default)
}
