//! What a machine was told: its arguments and its environment, where each word is from, and which were understood.

use super::near::nearest;
use crate::{Error, Result, config::Source};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use zeroize::Zeroizing;

/// Begins the words that are variables of the environment.
const ENV_PREFIX: &str = "env.";

/// Ends what whoever runs machines puts before a machine's own words, whatever is in it: urunc's lines are `ip=… gateway=… -- WORDS`.
const SEPARATOR: &str = "--";

/// What a word is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Argument,
    Variable,
}

impl Kind {
    fn noun(self) -> &'static str {
        match self {
            Kind::Argument => "boot argument",
            Kind::Variable => "environment variable",
        }
    }
}

/// One `key=value`. Values may be secret: they are overwritten when they go, and no error shows a variable's.
pub(crate) struct Word {
    pub(crate) kind: Kind,
    /// Without the prefix of variables.
    pub(crate) key: String,
    pub(crate) value: Option<Zeroizing<String>>,
    source: Source,
    taken: bool,
    /// It stands before the separator: nobody has to understand it.
    is_offer: bool,
}

impl Word {
    /// A word of this key, which tells its kind.
    pub(crate) fn new(key: &str, value: Option<Zeroizing<String>>, source: Source) -> Word {
        let (kind, key) = match key.strip_prefix(ENV_PREFIX) {
            Some(name) => (Kind::Variable, name),
            None => (Kind::Argument, key),
        };
        Word { kind, key: key.into(), value, source, taken: false, is_offer: false }
    }

    fn is(&self, kind: Kind, key: &str) -> bool {
        self.kind == kind && self.key == key
    }
}

/// All words, and every key somebody asked for.
#[derive(Default)]
pub(crate) struct BootArgs {
    words: Vec<Word>,
    /// For the error about one that nobody asked for.
    known: Vec<(Kind, &'static str)>,
}

impl BootArgs {
    /// The words of the kernel command line.
    pub(crate) fn parse(line: &str) -> BootArgs {
        let words = || line.split_ascii_whitespace();
        let offers = words().position(|word| word == SEPARATOR).unwrap_or(0);
        let parse = |(index, word): (usize, &str)| {
            let (key, value) = word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)));
            let value = value.map(|value| Zeroizing::new(value.into()));
            Word { is_offer: index < offers, ..Word::new(key, value, Source::CommandLine) }
        };
        let words = words().enumerate().filter(|(_, word)| *word != SEPARATOR).map(parse);
        BootArgs { words: words.collect(), known: Vec::new() }
    }

    /// Adds the words of another source.
    ///
    /// # Errors
    ///
    /// Somebody has asked for one of them already and gone on without.
    pub(crate) fn add(&mut self, words: Vec<Word>) -> Result {
        let is_late = |word: &&Word| {
            let asked = self.known.iter().any(|(kind, key)| word.is(*kind, key));
            asked && !self.words.iter().any(|other| other.is(word.kind, &word.key) && other.source <= word.source)
        };
        if let Some(word) = words.iter().find(is_late) {
            let (noun, key, source) = (word.kind.noun(), &word.key, word.source);
            return Err(Error::msg(format!(
                "the {noun} `{key}` in {source} comes too late: it was asked for before that was read; give it on the \
                 command line or by fw_cfg"
            )));
        }
        for mut word in words {
            // What counts was taken, so this would not be.
            word.taken = self.words.iter().any(|other| other.is(word.kind, &word.key) && other.taken);
            self.words.push(word);
        }
        Ok(())
    }

    fn note(&mut self, kind: Kind, key: &'static str) {
        if !self.known.contains(&(kind, key)) {
            self.known.push((kind, key));
        }
    }

    /// The value of `key` from the source that comes first; in one source the last one counts.
    pub(crate) fn take(&mut self, kind: Kind, key: &'static str) -> Option<(Zeroizing<String>, Source)> {
        self.note(kind, key);
        let mut found: Option<&Word> = None;
        for word in self.words.iter_mut().filter(|word| word.is(kind, key)) {
            word.taken = true;
            if found.is_none_or(|found| word.source <= found.source) {
                found = Some(word);
            }
        }
        found.map(|word| (word.value.clone().unwrap_or_default(), word.source))
    }

    /// The word of an argument that counts, which is not taken.
    pub(crate) fn argument(&self, key: &str) -> Option<&Word> {
        let mine = self.words.iter().rev().filter(|word| word.is(Kind::Argument, key));
        mine.min_by_key(|word| word.source)
    }

    /// Takes every argument whose key begins with `prefix`.
    #[cfg(target_os = "none")]
    pub(crate) fn take_prefixed(&mut self, prefix: &str) -> Vec<(String, String)> {
        let is_mine = |word: &&mut Word| word.kind == Kind::Argument && word.key.starts_with(prefix);
        let mine = self.words.iter_mut().filter(is_mine);
        mine.map(|word| {
            word.taken = true;
            (word.key.clone(), word.value.as_ref().map(|value| value.to_string()).unwrap_or_default())
        })
        .collect()
    }

    /// Overwrites the environment, which has been read.
    pub(crate) fn forget_environment(&mut self) {
        self.words.retain(|word| word.kind != Kind::Variable);
    }

    /// The keys of what stands before the separator and was of no use.
    pub(crate) fn refused_offers(&self) -> Vec<String> {
        self.words.iter().filter(|word| word.is_offer && !word.taken).map(|word| word.key.clone()).collect()
    }

    /// Fails when a word of these kinds is left that nobody took. The error shows no values.
    pub(crate) fn check(&self, kinds: &[Kind]) -> Result {
        let is_left = |word: &&Word| !word.taken && !word.is_offer && kinds.contains(&word.kind);
        let mut left = self.words.iter().filter(is_left);
        let Some(word) = left.next() else { return Ok(()) };
        let known: Vec<&str> = self.known.iter().filter(|(kind, _)| *kind == word.kind).map(|(_, key)| *key).collect();
        let hint = nearest(&word.key, &known).map(|near| format!(" did you mean `{near}`?")).unwrap_or_default();
        let from = match word.source {
            Source::CommandLine => String::new(),
            source => format!(" (from {source})"),
        };
        Err(Error::msg(format!(
            "unknown {} `{}`{from};{hint} this image understands: {}",
            word.kind.noun(),
            word.key,
            if known.is_empty() { "none".to_string() } else { known.join(", ") }
        )))
    }
}
