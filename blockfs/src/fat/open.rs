//! Open files: what those who have the same file open share.

use super::{chain::Chain, folder::Place, mounted::Core};
use alloc::rc::{Rc, Weak};
use core::cell::{Cell, RefCell};
use hashbrown::HashMap;
use unikernel_rt::sync::Semaphore;

/// The open files of a volume, by where their entries are.
#[derive(Default)]
pub(super) struct OpenFiles(HashMap<Place, Opened, core::hash::BuildHasherDefault<PlaceHasher>>);

/// The content that the folder has, and the one that somebody writes: another one, when that is to replace it.
#[derive(Default)]
struct Opened {
    current: Weak<Content>,
    written: Weak<Content>,
}

/// The content of a file.
pub(super) struct Content {
    core: Rc<Core>,
    pub(super) place: Cell<Place>,
    pub(super) chain: RefCell<Chain>,
    /// As the folder has it.
    pub(super) len: Cell<u32>,
    /// The turn of who writes.
    pub(super) turn: Semaphore,
    pub(super) is_written: Cell<bool>,
    /// No folder has it any more: the last to close it frees it.
    pub(super) is_gone: Cell<bool>,
}

impl Content {
    pub(super) fn new(core: &Rc<Core>, place: Place, first: u32, len: u32) -> Rc<Content> {
        Rc::new(Content {
            core: core.clone(),
            place: Cell::new(place),
            chain: RefCell::new(Chain::new(first)),
            len: Cell::new(len),
            turn: Semaphore::new(1),
            is_written: Cell::new(false),
            is_gone: Cell::new(false),
        })
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        self.core.open.borrow_mut().forget(self.place.get());
        if self.is_gone.get() {
            let chain = RefCell::new(Chain::new(self.chain.borrow().first()));
            let core = self.core.clone();
            self.core.in_background(async move {
                let _changing = core.begin_change().await?;
                core.cut(&chain, 0).await
            });
        }
    }
}

impl OpenFiles {
    /// The content that the folder has there, if somebody has it open.
    pub(super) fn current(&self, place: Place) -> Option<Rc<Content>> {
        self.0.get(&place)?.current.upgrade()
    }

    /// Whether somebody writes the file.
    pub(super) fn is_written(&self, place: Place) -> bool {
        let written = self.0.get(&place).and_then(|opened| opened.written.upgrade());
        written.is_some_and(|content| content.is_written.get())
    }

    pub(super) fn set_current(&mut self, content: &Rc<Content>) {
        self.0.entry(content.place.get()).or_default().current = Rc::downgrade(content);
    }

    pub(super) fn set_written(&mut self, content: &Rc<Content>) {
        content.is_written.set(true);
        self.0.entry(content.place.get()).or_default().written = Rc::downgrade(content);
    }

    /// The entry was removed. Returns whether somebody has the content open, and will free it.
    pub(super) fn remove(&mut self, place: Place) -> bool {
        let Some(opened) = self.0.remove(&place) else { return false };
        let current = opened.current.upgrade();
        let contents = [&current, &opened.written.upgrade()];
        contents.into_iter().flatten().for_each(|content| content.is_gone.set(true));
        current.is_some()
    }

    /// The entry has this content now. Returns whether somebody has the one before open, and will free it.
    pub(super) fn replace(&mut self, content: &Rc<Content>) -> bool {
        let before = self.current(content.place.get());
        self.set_current(content);
        before.inspect(|before| before.is_gone.set(true)).is_some()
    }

    /// The entry is somewhere else now.
    pub(super) fn rename(&mut self, from: Place, to: Place) {
        let Some(opened) = self.0.remove(&from) else { return };
        for content in [&opened.current, &opened.written].into_iter().filter_map(|content| content.upgrade()) {
            content.place.set(to);
        }
        self.0.insert(to, opened);
    }

    fn forget(&mut self, place: Place) {
        let is_open = |opened: &Opened| opened.current.strong_count() + opened.written.strong_count() > 0;
        if self.0.get(&place).is_some_and(|opened| !is_open(opened)) {
            self.0.remove(&place);
        }
    }
}

/// Mixes the two numbers of a place.
#[derive(Default)]
pub(super) struct PlaceHasher(u64);

impl core::hash::Hasher for PlaceHasher {
    fn write(&mut self, _: &[u8]) {
        unreachable!("places are numbers")
    }

    fn write_u32(&mut self, number: u32) {
        let mixed = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
