//! Machines and images that are there: found by their tags, and told about in our words.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_ec2::{
    Client,
    types::{Filter, Image, Instance, InstanceStateName as Ec2State},
};
use tokio::time::Instant;

use super::{
    client::{POLL, failed, is_unknown},
    tags,
};
use crate::instance::{
    Name, Restart,
    provider::{State, Summary},
};

/// A stop takes EC2 minutes when the app does not heed its power button.
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// The machines that these filters let through, but for those that are gone.
pub async fn instances(ec2: &Client, filters: Vec<Filter>) -> Result<Vec<Instance>> {
    Ok(instances_ever(ec2, filters).await?.into_iter().filter(|instance| !is_gone(instance)).collect())
}

/// The same with those that have gone in the last hour.
pub async fn instances_ever(ec2: &Client, filters: Vec<Filter>) -> Result<Vec<Instance>> {
    let found = ec2.describe_instances().set_filters(Some(filters)).into_paginator().items().send();
    let found: Vec<_> = found.collect::<Result<_, _>>().await.map_err(failed("DescribeInstances"))?;
    Ok(found.into_iter().filter_map(|reservation| reservation.instances).flatten().collect())
}

/// All of ours.
pub async fn all(ec2: &Client) -> Result<Vec<Summary>> {
    let found = instances(ec2, vec![tags::is_ours()]).await?;
    let mut summaries: Vec<Summary> = found.iter().filter_map(summary).collect();
    summaries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(summaries)
}

/// The one of this name.
pub async fn named(ec2: &Client, name: &Name) -> Result<Instance> {
    named_if_any(ec2, name).await?.with_context(|| {
        format!(
            "there is no instance called `{name}` in this region of AWS; `cargo unikernel instance list --provider aws` shows \
             which there are"
        )
    })
}

/// The same, if there is one.
pub async fn named_if_any(ec2: &Client, name: &Name) -> Result<Option<Instance>> {
    let mut found = instances(ec2, vec![tags::is_ours(), tags::has(tags::NAME, name.as_str())]).await?;
    match (found.pop(), found.is_empty()) {
        (Some(instance), true) => Ok(Some(instance)),
        (Some(_), false) => bail!(
            "there are {} machines called `{name}`, made at the same moment; end one with `aws ec2 terminate-instances`",
            found.len() + 1
        ),
        (None, _) => Ok(None),
    }
}

/// The id that EC2 gave it.
pub fn id_of(instance: &Instance) -> Result<&str> {
    instance.instance_id().context("EC2 names no id of the machine")
}

/// What it does, in EC2's words.
pub fn state_of(instance: &Instance) -> Option<&Ec2State> {
    instance.state()?.name()
}

/// Asks until this machine is as wanted. Fails when it is gone, with the reason that EC2 gives.
pub async fn until(ec2: &Client, id: &str, is_wanted: impl Fn(&Instance) -> bool) -> Result<Instance> {
    let has_come = async || {
        let found = match ec2.describe_instances().instance_ids(id).send().await {
            // Right after it was made EC2 may not know it everywhere; one that has ended is known for an hour.
            Err(error) if is_unknown(&error) => return Ok(None),
            found => found.map_err(failed("DescribeInstances"))?,
        };
        let all = found.reservations.unwrap_or_default().into_iter().filter_map(|part| part.instances);
        let found = all.flatten().find(|instance| is_wanted(instance) || is_gone(instance));
        Ok(found)
    };
    let instance = poll(&format!("machine {id}"), has_come).await?;
    let reason = || instance.state_reason().and_then(|reason| reason.message()).unwrap_or("AWS says no more");
    ensure!(is_wanted(&instance), "machine {id} is gone: {}", reason());
    Ok(instance)
}

/// It will never run again.
pub fn is_gone(instance: &Instance) -> bool {
    state_of(instance) == Some(&Ec2State::Terminated)
}

/// It has run, or runs.
pub fn has_started(instance: &Instance) -> bool {
    matches!(state_of(instance), Some(Ec2State::Running | Ec2State::Stopped))
}

/// Asks until there is an answer.
pub async fn poll<T>(what: &str, ask: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let begin = Instant::now();
    loop {
        match ask().await? {
            Some(answer) => return Ok(answer),
            None if begin.elapsed() > WAIT_MAX => {
                let minutes = WAIT_MAX.as_secs() / 60;
                bail!("{what} is not ready after {minutes} minutes; look at it in the console of AWS")
            }
            None => tokio::time::sleep(POLL).await,
        }
    }
}

/// The AMI with this disk.
pub async fn image_with(ec2: &Client, sha256: &str) -> Result<Option<Image>> {
    let call = ec2.describe_images().owners("self").filters(tags::is_ours()).filters(tags::has(tags::SHA256, sha256));
    let found = call.send().await.map_err(failed("DescribeImages"))?;
    let is_good = |image: &Image| image.state().is_some_and(|state| ["available", "pending"].contains(&state.as_str()));
    Ok(found.images.unwrap_or_default().into_iter().find(is_good))
}

/// What we say of a machine; nothing without a name, which only somebody else can have taken away.
pub fn summary(instance: &Instance) -> Option<Summary> {
    let tag = |key| tags::value(instance.tags(), key);
    let state = state(state_of(instance)?, instance.state_reason().and_then(|reason| reason.code()));
    let runs = matches!(state, State::Running | State::Stopping);
    let addresses = [instance.public_ip_address(), instance.private_ip_address()].into_iter().flatten();
    let reason = instance.state_reason().filter(|reason| reason.code().is_some_and(|code| code.starts_with("Server.")));
    Some(Summary {
        name: tag(tags::NAME)?.parse().ok()?,
        provider: "aws",
        state,
        problem: reason.and_then(|reason| reason.message()).map(str::to_owned),
        up_seconds: instance.launch_time().filter(|_| runs).map(|launch| seconds_since(launch.secs())),
        image: tag(tags::IMAGE).unwrap_or_default().into(),
        ports: Vec::new(),
        addresses: addresses.filter(|_| runs).map(str::to_owned).collect(),
        restarts: 0,
        ended: None,
        restart: Restart::Never,
        memory: None,
        machine: instance.instance_type().map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
        pid: None,
        folder: None,
        id: instance.instance_id().map(str::to_owned),
    })
}

fn seconds_since(moment: i64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs().saturating_sub(u64::try_from(moment).unwrap_or_default())
}

/// A machine that switches itself off is stopped, too; the reason tells which it was.
fn state(state: &Ec2State, reason: Option<&str>) -> State {
    match state {
        Ec2State::Pending => State::Starting,
        Ec2State::Running => State::Running,
        Ec2State::Stopping | Ec2State::ShuttingDown => State::Stopping,
        Ec2State::Stopped if reason == Some("Client.InstanceInitiatedShutdown") => State::Ended,
        Ec2State::Stopped => State::Stopped,
        _ => State::Dead,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ec2::types::{InstanceState, StateReason, Tag};

    fn instance(state: Ec2State, reason: &str) -> Instance {
        Instance::builder()
            .instance_id("i-1")
            .state(InstanceState::builder().name(state).build())
            .state_reason(StateReason::builder().code(reason).message("why").build())
            .public_ip_address("192.0.2.1")
            .tags(Tag::builder().key(tags::NAME).value("web").build())
            .build()
    }

    #[test]
    fn states_in_our_words() {
        let check = |ec2: Ec2State, reason: &str, expected: State, addresses: usize, problem: Option<&str>| {
            let summary = summary(&instance(ec2, reason)).unwrap();
            let found = (summary.state, summary.addresses.len(), summary.problem.as_deref());
            assert_eq!(found, (expected, addresses, problem));
        };
        check(Ec2State::Pending, "", State::Starting, 0, None);
        check(Ec2State::Running, "", State::Running, 1, None);
        check(Ec2State::Stopping, "Client.UserInitiatedShutdown", State::Stopping, 1, None);
        check(Ec2State::Stopped, "Client.UserInitiatedShutdown", State::Stopped, 0, None);
        check(Ec2State::Stopped, "Client.InstanceInitiatedShutdown", State::Ended, 0, None);
        check(Ec2State::Stopped, "Server.SpotInstanceTermination", State::Stopped, 0, Some("why"));
        check(Ec2State::ShuttingDown, "", State::Stopping, 1, None);
    }

    #[test]
    fn what_has_no_name_is_not_ours() {
        let mut nameless = instance(Ec2State::Running, "");
        nameless.tags = None;
        assert_eq!(summary(&nameless), None);
    }
}
