//! Instances in Amazon EC2. Nothing is kept on this computer: what belongs to an instance has tags, in its account and region.
//!
//! | question | module |
//! |---|---|
//! | what is asked for, and what cannot be had there? | [`order`], [`disk`] |
//! | what would be done? | [`plan`] |
//! | how is a machine made? | [`create`], which calls [`upload`] |
//! | what happens when that fails, or a signal comes? | [`undo`], [`signals`] |
//! | which machines are there, and what do they do? | [`found`], by their [`tags`] |
//! | what did it say? | [`console`] |
//! | how is the cloud reached, and what do its errors mean? | [`client`] |

pub mod client;
pub mod console;
pub mod create;
pub mod disk;
pub mod found;
pub mod order;
pub mod plan;
pub mod signals;
pub mod tags;
pub mod undo;
pub mod upload;

use std::io::Write;

use anyhow::{Context, Result, bail};
use aws_sdk_ec2::{
    Client,
    types::{Instance, InstanceStateName as Ec2State},
};
use tokio::runtime::{Builder, Runtime};

use super::{
    Create, Name,
    provider::{Lines, Provider, Summary, Urgency, Usage},
};
use crate::port::Port;
use client::{Clients, failed};
use found::{id_of, state_of};
use order::Order;

/// Said before a machine is made: it costs money.
const WARNING: &str = "\
    unikernel: there are no drivers for Amazon's network ports (ENA) and disks (NVMe) yet: the app starts and writes its log, but \
    one that wants a network or a volume ends with an error";

/// The instances of an account in a region.
pub struct Aws {
    runtime: Runtime,
}

impl Aws {
    /// Asks nobody yet.
    pub fn open() -> Result<Aws> {
        let runtime = Builder::new_current_thread().enable_all().build().context("cannot start the SDK's runtime")?;
        Ok(Aws { runtime })
    }

    fn with<T>(&self, work: impl AsyncFnOnce(Clients) -> Result<T>) -> Result<T> {
        self.runtime.block_on(async { work(Clients::connect().await?).await })
    }
}

impl Provider for Aws {
    type Order = Order;

    fn order(create: Create) -> Result<Order> {
        Order::of(create)
    }

    /// The calls of the API.
    fn plan(&self, order: &Order) -> Result<String> {
        Ok(plan::plan(order))
    }

    fn create(&self, order: Order) -> Result<Summary> {
        eprintln!("{WARNING}");
        self.with(async |clients| create::create(&clients, &order).await)
    }

    fn list(&self) -> Result<Vec<Summary>> {
        self.with(async |clients| found::all(&clients.ec2).await)
    }

    fn logs(&self, name: &Name, lines: &Lines, out: &mut dyn Write) -> Result<()> {
        self.with(async |clients| console::show(&clients.ec2, name, lines, out).await)
    }

    fn stop(&self, name: &Name, urgency: Urgency) -> Result<Summary> {
        self.with(async |Clients { ec2, .. }| {
            let instance = found::named(&ec2, name).await?;
            if state_of(&instance) == Some(&Ec2State::Stopped) {
                return told(&instance, name);
            }
            let id = id_of(&instance)?;
            // An app that does not heed its power button is stopped after some minutes, too.
            let call = ec2.stop_instances().instance_ids(id).force(true).skip_os_shutdown(urgency == Urgency::Now);
            call.send().await.map_err(failed("StopInstances"))?;
            told(&found::until(&ec2, id, is_stopped).await?, name)
        })
    }

    fn start(&self, name: &Name) -> Result<Summary> {
        self.with(async |Clients { ec2, .. }| {
            let instance = found::named(&ec2, name).await?;
            let id = id_of(&instance)?;
            // EC2 starts none that is still stopping.
            if state_of(&instance) == Some(&Ec2State::Stopping) {
                found::until(&ec2, id, is_stopped).await?;
            }
            ec2.start_instances().instance_ids(id).send().await.map_err(failed("StartInstances"))?;
            // An app may have ended before it is seen to run.
            let was_launched = |now: &Instance| !is_stopped(now) || now.launch_time() != instance.launch_time();
            let has_started = |now: &Instance| found::has_started(now) && was_launched(now);
            told(&found::until(&ec2, id, has_started).await?, name)
        })
    }

    fn delete(&self, name: &Name, urgency: Urgency) -> Result<()> {
        self.with(async |Clients { ec2, .. }| {
            let instance = match found::named_if_any(&ec2, name).await? {
                Some(instance) => instance,
                // Its image may be left of one whose removal was interrupted.
                None if remove_leftovers(&ec2, name).await? => return Ok(()),
                None => found::named(&ec2, name).await?,
            };
            let id = id_of(&instance)?;
            undo::terminate(&ec2, id, urgency, undo::Age::Old).await?;
            found::until(&ec2, id, found::is_gone).await?;
            remove_unused(&ec2, &instance).await.map(drop)
        })
    }

    fn stats(&self, name: &Name) -> Result<Usage> {
        bail!(
            "EC2 tells nothing of what `{name}` uses; its processor's share is in CloudWatch (`aws cloudwatch get-metric-statistics \
             --namespace AWS/EC2 --metric-name CPUUtilization`)"
        )
    }

    fn clone(&self, name: &Name, copy: &Name, _: &[Port]) -> Result<Summary> {
        bail!(
            "EC2 copies no memory of a machine that runs, so `{copy}` cannot be `{name}`; make another with `instance create`, which \
             uses the same image again"
        )
    }

    fn console(&self, name: &Name) -> Result<()> {
        bail!(
            "EC2 lets nobody type to `{name}` from here; see what it says with `cargo unikernel instance logs --follow {name} \
             --provider aws`"
        )
    }
}

fn is_stopped(instance: &Instance) -> bool {
    state_of(instance) == Some(&Ec2State::Stopped)
}

fn told(instance: &Instance, name: &Name) -> Result<Summary> {
    found::summary(instance).with_context(|| format!("`{name}` has lost its tags"))
}

/// Removes what machines of this name have left that are gone; whether there was anything.
async fn remove_leftovers(ec2: &Client, name: &Name) -> Result<bool> {
    let ours = vec![tags::is_ours(), tags::has(tags::NAME, name.as_str())];
    let gone = found::instances_ever(ec2, ours).await?.into_iter().filter(found::is_gone);
    let mut has_removed = false;
    for instance in gone {
        has_removed |= remove_unused(ec2, &instance).await?;
    }
    Ok(has_removed)
}

/// Removes the image of a machine that is gone, and its snapshot, if it is ours and no other machine is made of it; whether it did.
async fn remove_unused(ec2: &Client, instance: &Instance) -> Result<bool> {
    let id = instance.image_id().context("EC2 names no image of the machine")?;
    if !found::instances(ec2, vec![tags::filter("image-id", id)]).await?.is_empty() {
        return Ok(false);
    }
    let call = ec2.describe_images().owners("self").filters(tags::is_ours()).filters(tags::filter("image-id", id));
    let found = call.send().await.map_err(failed("DescribeImages"))?;
    let Some(image) = found.images().first() else { return Ok(false) };
    undo::remove_image(ec2, id, undo::Age::Old).await?;
    if let Some(snapshot) = tags::value(image.tags(), tags::SNAPSHOT) {
        undo::remove_snapshot(ec2, snapshot, undo::Age::Old).await?;
    }
    Ok(true)
}
