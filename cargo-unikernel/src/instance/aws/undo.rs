//! Removes what was made, and names what could not be removed.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use aws_sdk_ec2::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
};

use super::{
    client::{POLL, failed, is_unknown, settled},
    tags::{self, CREATION},
};
use crate::instance::provider::Urgency;

/// What one `create` has made so far.
#[derive(Debug, Default)]
pub struct Made {
    /// A call was made that makes something.
    pub is_begun: bool,
    /// The last such call has not been answered.
    pub is_unheard: bool,
    /// Whose answers came.
    pub ids: Vec<String>,
}

impl Made {
    /// A call is about to make something.
    pub fn begin(&mut self) {
        (self.is_begun, self.is_unheard) = (true, true);
    }

    /// What came of it: a service that refuses has made nothing.
    pub fn hear<T, E: ProvideErrorMetadata>(&mut self, answer: &Result<T, SdkError<E>>) {
        self.is_unheard = answer.as_ref().is_err_and(|error| error.code().is_none());
    }

    /// It made this.
    pub fn add(&mut self, id: &str) {
        self.is_unheard = false;
        self.ids.push(id.to_owned());
    }
}

/// How often what a call may have made is looked for, as EC2 takes a while to hear of it everywhere.
const LOOKS: usize = 5;

/// Removes all of it, and what calls have made whose answers were lost. The error names each thing that is still there, and how it
/// is removed.
pub async fn undo(ec2: &Client, made: &Made, creation: &str) -> Result<()> {
    let (mut ids, mut left) = (made.ids.clone(), Vec::new());
    match lost(ec2, made, creation).await {
        Ok(lost) => ids.extend(lost),
        Err(why) => left.push(format!("whatever else has the tag {CREATION}={creation} ({why:#})")),
    }
    for (kind, id) in in_order(ids) {
        let age = if made.ids.contains(&id) { Age::New } else { Age::Old };
        let (removed, words) = match kind {
            Kind::Instance => (terminate(ec2, &id, Urgency::Now, age).await, "terminate-instances --instance-ids"),
            Kind::Image => (remove_image(ec2, &id, age).await, "deregister-image --image-id"),
            Kind::Snapshot => (remove_snapshot(ec2, &id, age).await, "delete-snapshot --snapshot-id"),
        };
        if let Err(why) = removed {
            left.push(format!("{id}: `aws ec2 {words} {id}` ({why:#})"));
        }
    }
    ensure!(left.is_empty(), "could not remove, and leave to you:\n  {}", left.join("\n  "));
    Ok(())
}

/// In the order in which they can be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Instance,
    Image,
    Snapshot,
}

/// Volumes and network ports are left out, as they go with their machine.
fn in_order(ids: Vec<String>) -> BTreeSet<(Kind, String)> {
    let kinds = [("i-", Kind::Instance), ("ami-", Kind::Image), ("snap-", Kind::Snapshot)];
    let kind_of = |id: &String| kinds.iter().find(|(start, _)| id.starts_with(start)).map(|(_, kind)| *kind);
    ids.into_iter().filter_map(|id| Some((kind_of(&id)?, id))).collect()
}

/// Everything with the tag of this creation. After a call that nobody has answered it is looked for some times.
async fn lost(ec2: &Client, made: &Made, creation: &str) -> Result<Vec<String>> {
    for look in 1.. {
        let call = ec2.describe_tags().filters(tags::filter("key", CREATION)).filters(tags::filter("value", creation));
        let found = call.send().await.map_err(failed("DescribeTags"))?;
        let ids: Vec<String> = found.tags.unwrap_or_default().into_iter().filter_map(|tag| tag.resource_id).collect();
        if !made.is_unheard || ids.iter().any(|id| !made.ids.contains(id)) || look == LOOKS {
            return Ok(ids);
        }
        tokio::time::sleep(POLL).await;
    }
    unreachable!("the last look returns")
}

/// How long something has been there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// It was made a moment ago: a service that does not know it may not have heard of it yet.
    New,
    /// What does not know it has lost it.
    Old,
}

impl Age {
    fn may_come<E: ProvideErrorMetadata>(self, error: &SdkError<E>) -> bool {
        self == Age::New && is_unknown(error)
    }
}

/// Ends a machine, and does not wait for it. One that is gone is fine.
pub async fn terminate(ec2: &Client, id: &str, urgency: Urgency, age: Age) -> Result<()> {
    let end = || ec2.terminate_instances().instance_ids(id).skip_os_shutdown(urgency == Urgency::Now).send();
    match settled(|error| age.may_come(error), end).await {
        Err(error) if !is_unknown(&error) => Err(failed("TerminateInstances")(error)),
        _ => Ok(()),
    }
}

/// Removes an AMI. Its snapshot stays.
pub async fn remove_image(ec2: &Client, id: &str, age: Age) -> Result<()> {
    match settled(|error| age.may_come(error), || ec2.deregister_image().image_id(id).send()).await {
        // EC2 says so of one that was removed before.
        Err(error) if !is_unknown(&error) && error.code() != Some("InvalidAMIID.Unavailable") => {
            Err(failed("DeregisterImage")(error))
        }
        _ => Ok(()),
    }
}

/// Removes a snapshot, which its AMI keeps for a moment after its end.
pub async fn remove_snapshot(ec2: &Client, id: &str, age: Age) -> Result<()> {
    let delete = || ec2.delete_snapshot().snapshot_id(id).send();
    let is_passing = |error: &_| age.may_come(error) || error.code() == Some("InvalidSnapshot.InUse");
    match settled(is_passing, delete).await {
        Err(error) if !is_unknown(&error) => Err(failed("DeleteSnapshot")(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_goes_once_and_after_what_needs_it() {
        let ids = ["snap-3", "vol-4", "ami-2", "i-1", "eni-5", "ami-2", "i-0", "strange"].map(String::from);
        let order: Vec<String> = in_order(ids.into()).into_iter().map(|(_, id)| id).collect();
        assert_eq!(order, ["i-0", "i-1", "ami-2", "snap-3"]);
    }
}
