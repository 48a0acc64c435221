//! What all files of a mounted volume share, and the notes on the disk about whether it is in order.

use super::{layout::Layout, open::OpenFiles, space::Space, turns::Turns};
use crate::{Disk, error::Cause, metadata::VolumeInfo};
use alloc::rc::Rc;
use core::{
    cell::{Cell, RefCell},
    future::Future,
};
use unikernel_rt::{
    log::{Display2Format as Text, warn},
    spawn_named,
    sync::{Notify, Semaphore},
};

/// In the boot sector: Linux keeps a bit here while a volume is mounted for writing.
const STATE_AT: u64 = 65;

/// A mounted volume.
pub(super) struct Core {
    pub(super) disk: Disk,
    pub(super) layout: Layout,
    pub(super) info: VolumeInfo,
    /// The turn of those who look at folders, or change them.
    pub(super) turns: Turns,
    /// The turn of who changes the table; also, who looks for free clusters.
    pub(super) table_turn: Semaphore,
    pub(super) space: Space,
    pub(super) open: RefCell<OpenFiles>,
    pub(super) state: State,
}

/// Whether the disk says that the volume is in order.
pub(super) struct State {
    /// The turn of who changes the notes.
    turn: Semaphore,
    is_in_order: Cell<bool>,
    /// Changes under way.
    changing: Cell<usize>,
    /// Files that were written and are not synced.
    pub(super) unsynced: Cell<usize>,
    /// Work that goes on after its file was dropped.
    background: Cell<usize>,
    background_over: Notify,
}

impl State {
    pub(super) fn new() -> State {
        State {
            turn: Semaphore::new(1),
            is_in_order: Cell::new(true),
            changing: Cell::new(0),
            unsynced: Cell::new(0),
            background: Cell::new(0),
            background_over: Notify::of("files that are being closed"),
        }
    }
}

/// A change of the volume is under way.
pub(super) struct Changing(Rc<Core>);

impl Drop for Changing {
    fn drop(&mut self) {
        self.0.state.changing.set(self.0.state.changing.get() - 1);
    }
}

impl Core {
    /// Notes on the disk that the volume is being changed, before it is.
    pub(super) async fn begin_change(self: &Rc<Self>) -> Result<Changing, Cause> {
        if self.info.is_read_only {
            return Err(Cause::ReadOnly);
        }
        let state = &self.state;
        let _turn = state.turn.acquire().await;
        if state.is_in_order.get() {
            self.note_order(false).await?;
            self.disk.flush().await?;
            state.is_in_order.set(false);
        }
        state.changing.set(state.changing.get() + 1);
        Ok(Changing(self.clone()))
    }

    /// Makes everything that was done safe, and notes that the volume is in order, unless others are changing it.
    pub(super) async fn settle(&self) -> Result<(), Cause> {
        let state = &self.state;
        let _turn = state.turn.acquire().await;
        if !state.is_in_order.get() {
            self.write_info().await?;
        }
        self.disk.flush().await?;
        if !state.is_in_order.get() && state.changing.get() == 0 && state.unsynced.get() == 0 {
            self.note_order(true).await?;
            state.is_in_order.set(true);
        }
        Ok(())
    }

    async fn note_order(&self, is_in_order: bool) -> Result<(), Cause> {
        let _turn = self.table_turn.acquire().await;
        self.set_in_order(is_in_order).await?;
        let state = self.disk.read(STATE_AT, 1).await?[0];
        self.disk.write_bytes(STATE_AT, &[state & !1 | u8::from(!is_in_order)]).await
    }

    /// Goes on with `work` when the caller does not: for what must not be left half done.
    pub(super) async fn whole<T: 'static>(work: impl Future<Output = Result<T, Cause>> + 'static) -> Result<T, Cause> {
        spawn_named("FAT change", work).await.expect("nobody aborts it")
    }

    /// Does `work` after its file was dropped. Who comes later [waits](Self::background_done) for it.
    pub(super) fn in_background(self: &Rc<Self>, work: impl Future<Output = Result<(), Cause>> + 'static) {
        let core = self.clone();
        core.state.background.set(core.state.background.get() + 1);
        drop(spawn_named("FAT close", async move {
            let done = match work.await {
                Ok(()) => core.settle().await,
                failed => failed,
            };
            if let Err(cause) = done {
                warn!("a file of the FAT volume was dropped, and could not be written: {}", Text(&cause));
            }
            core.state.background.set(core.state.background.get() - 1);
            core.state.background_over.notify_all();
        }));
    }

    /// Waits for the work of dropped files.
    pub(super) async fn background_done(&self) {
        while self.state.background.get() > 0 {
            self.state.background_over.notified().await;
        }
    }
}
