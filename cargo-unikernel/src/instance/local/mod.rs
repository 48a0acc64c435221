//! Instances on this machine: QEMU in the background, each under a process of its own that watches over it.
//!
//! | question | module |
//! |---|---|
//! | where is what kept, and who may change it? | [`store`], [`draft`], [`record`], [`summary`] |
//! | which QEMU command is that? | [`machine`] |
//! | how does a command start one and let go of it? | [`mod@launch`] |
//! | what goes on in the background? | [`supervisor`], one [`run`] after the other, [`shared`] by its threads |
//! | how do commands talk to it? | [`control`], [`terminal`] |
//! | what did it say? | [`log`] writes, [`follow`] reads |
//! | how is a copy made? | [`twin`], [`save`], [`copy`] |
//! | what does it use? | [`stats`] |

pub mod control;
pub mod copy;
pub mod draft;
pub mod follow;
pub mod launch;
pub mod log;
pub mod machine;
pub mod record;
pub mod run;
pub mod save;
pub mod shared;
pub mod stats;
pub mod store;
pub mod summary;
pub mod supervisor;
pub mod terminal;
pub mod twin;

use std::io::Write;

use anyhow::{Context, Result, bail};

use super::{
    Create, Name,
    provider::{Lines, Order, Provider, State, Summary, Urgency, Usage},
};
use crate::{
    install, net,
    port::{self, Port},
    registry,
};
use control::Request;
use draft::Draft;
use launch::{Start, Watch, launch};
use machine::Machine;
use record::{Description, Phase, Status};
use store::{Folder, Locked, Store};

/// The instances of this user on this machine.
pub struct Local {
    store: Store,
}

impl Local {
    /// Where they are kept is made, if it is not there.
    pub fn open() -> Result<Local> {
        Ok(Local { store: Store::open()? })
    }

    fn name_of(&self, order: &Order) -> Name {
        let stem = order.image.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        order.name.clone().unwrap_or_else(|| self.store.free_name(&Name::like(&stem)))
    }

    /// Starts what is in a draft, and keeps it.
    fn start_new(&self, mut draft: Draft, start: Start<'_>, watch: &Watch) -> Result<Summary> {
        watch.check()?;
        draft.publish(&self.store)?;
        // The draft is dropped after the supervisor has ended.
        launch(&draft, Start { is_new: true, ..start }, watch)?;
        Ok(summary::of(&draft.keep()))
    }

    /// Asks the supervisor to stop, and waits until it has.
    fn stop_locked(&self, locked: &Locked, urgency: Urgency) -> Result<()> {
        if is_active(locked)? {
            let asked = control::ask(locked, &Request::Stop { now: urgency == Urgency::Now });
            // One that ends at this moment answers no more.
            if let Err(problem) = asked
                && is_active(locked)?
            {
                return Err(problem);
            }
            locked.wait_for_supervisor()?;
        }
        Ok(())
    }
}

/// Whether a supervisor lives that has something to do. One that is about to end is waited for.
fn is_active(locked: &Locked) -> Result<bool> {
    if locked.is_supervised() && Status::read(locked).is_ok_and(|status| status.phase.is_final()) {
        locked.wait_for_supervisor()?;
    }
    Ok(locked.is_supervised())
}

impl Provider for Local {
    type Order = Order;

    fn order(create: Create) -> Result<Order> {
        create.order()
    }

    /// The QEMU command.
    fn plan(&self, order: &Order) -> Result<String> {
        let draft = self.store.draft(&self.name_of(order))?;
        machine::lay_out(&draft, order)?;
        let machine = Machine::planned(&draft)?;
        let network = machine.network(true)?;
        let line = network.shell_lines(install::QEMU, &machine.arguments(&network));
        // As it will be called.
        let folder = self.store.folder(draft.name());
        Ok(line.replace(&*draft.path().to_string_lossy(), &folder.path().to_string_lossy()))
    }

    fn create(&self, mut order: Order) -> Result<Summary> {
        let name = self.name_of(&order);
        if self.store.folder(&name).path().exists() {
            bail!("{}", store::taken(&name));
        }
        install::qemu().map_err(anyhow::Error::msg)?;
        // What is free today is what it has from now on.
        order.settings.ports = port::settle(&order.settings.ports)?;
        let watch = Watch::new()?;
        let draft = self.store.draft(&name)?;
        machine::lay_out(&draft, &order)?;
        // What is missing is better said here than by the supervisor.
        check_network(&Machine::planned(&draft)?)?;
        self.start_new(draft, Start::default(), &watch)
    }

    fn list(&self) -> Result<Vec<Summary>> {
        Ok(self.store.all()?.iter().map(summary::of).collect())
    }

    fn logs(&self, name: &Name, lines: &Lines, out: &mut dyn Write) -> Result<()> {
        follow::show(&self.store.existing(name)?, lines, out)
    }

    fn stop(&self, name: &Name, urgency: Urgency) -> Result<Summary> {
        if urgency == Urgency::Now {
            hurry(&self.store.existing(name)?);
        }
        let locked = self.store.lock(name)?;
        self.stop_locked(&locked, urgency)?;
        settle(&locked)?;
        Ok(summary::of(&locked))
    }

    fn start(&self, name: &Name) -> Result<Summary> {
        let locked = self.store.lock(name)?;
        if is_active(&locked)? {
            return Ok(summary::of(&locked));
        }
        let machine = Machine::of(&locked)?;
        port::settle(&machine.settings.ports)?;
        check_network(&machine)?;
        launch(&locked, Start::default(), &Watch::new()?)?;
        Ok(summary::of(&locked))
    }

    fn delete(&self, name: &Name, urgency: Urgency) -> Result<()> {
        if urgency == Urgency::Now {
            hurry(&self.store.existing(name)?);
        }
        let locked = self.store.lock(name)?;
        self.stop_locked(&locked, urgency)?;
        // A damaged one is removed, too.
        let nets = Description::read(&locked).and_then(|description| description.options()).map(|options| options.nets);
        let nets = nets.unwrap_or_default();
        locked.delete(&self.store)?;
        registry::sweep();
        net::sweep_after(&nets);
        Ok(())
    }

    fn stats(&self, name: &Name) -> Result<Usage> {
        let summary = summary::of(&self.store.existing(name)?);
        let running = summary.pid.zip(summary.up_seconds);
        let (pid, up_seconds) =
            running.with_context(|| format!("`{name}` is {}: it uses nothing", summary.state.word()))?;
        stats::of(name, pid, up_seconds)
    }

    fn clone(&self, name: &Name, copy: &Name, ports: &[Port]) -> Result<Summary> {
        let original = self.store.lock(name)?;
        if self.store.folder(copy).path().exists() {
            bail!("{}", store::taken(copy));
        }
        let watch = Watch::new()?;
        let draft = self.store.draft(copy)?;
        let home = self.store.folder(copy);
        twin::copy(&original, &draft, &home, ports)?;
        let memory = home.file(twin::MEMORY);
        self.start_new(draft, Start { incoming: Some(&memory), ..Start::default() }, &watch)
    }

    fn console(&self, name: &Name) -> Result<()> {
        let folder = self.store.existing(name)?;
        let state = summary::of(&folder).state;
        if !folder.is_supervised() {
            bail!("`{name}` is {}; start it with `cargo unikernel instance start {name}`", state.word());
        }
        terminal::join(&folder)
    }
}

/// Whether it can have its network, as far as that can be said from here.
fn check_network(machine: &Machine) -> Result<()> {
    machine.network(net::own::is_needed(&machine.settings.nets)).map(drop)
}

/// Without waiting for a command that stops it in order and has it locked.
fn hurry(folder: &Folder) {
    if folder.is_supervised() {
        // Whether it can be asked shows in what follows.
        let _ = control::ask(folder, &Request::Stop { now: true });
    }
}

/// One that died is a stopped one once it was asked to stop.
fn settle(locked: &Locked) -> Result<()> {
    let mut status = Status::read(locked)?;
    if status.state(locked.is_supervised()) == State::Dead {
        (status.phase, status.pid, status.accel) = (Phase::Stopped, None, None);
        status.write(locked)?;
    }
    Ok(())
}
