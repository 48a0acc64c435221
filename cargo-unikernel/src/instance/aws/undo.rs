//! Removes what was made, and names what could not be removed.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use aws_sdk_ec2::{Client, error::ProvideErrorMetadata};

use super::{
    client::{failed, is_unknown, settled},
    tags::{self, CREATION},
};
use crate::instance::provider::Urgency;

/// What one `create` has made so far.
#[derive(Debug, Default)]
pub struct Made {
    /// A call was made that makes something.
    pub is_begun: bool,
    /// Whose answers came.
    pub ids: Vec<String>,
}

/// Removes all of it, and what calls have made whose answers were lost. The error names each thing that is still there, and how it
/// is removed.
pub async fn undo(ec2: &Client, made: &Made, creation: &str) -> Result<()> {
    let (mut ids, mut left) = (made.ids.clone(), Vec::new());
    match lost(ec2, creation).await {
        Ok(lost) => ids.extend(lost),
        Err(why) => left.push(format!("whatever else has the tag {CREATION}={creation} ({why:#})")),
    }
    for (kind, id) in in_order(ids) {
        let (removed, words) = match kind {
            Kind::Instance => (terminate(ec2, &id, Urgency::Now).await, "terminate-instances --instance-ids"),
            Kind::Image => (remove_image(ec2, &id).await, "deregister-image --image-id"),
            Kind::Snapshot => (remove_snapshot(ec2, &id).await, "delete-snapshot --snapshot-id"),
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

/// Everything with the tag of this creation.
async fn lost(ec2: &Client, creation: &str) -> Result<Vec<String>> {
    let call = ec2.describe_tags().filters(tags::filter("key", CREATION)).filters(tags::filter("value", creation));
    let found = call.send().await.map_err(failed("DescribeTags"))?;
    Ok(found.tags.unwrap_or_default().into_iter().filter_map(|tag| tag.resource_id).collect())
}

/// Ends a machine, and does not wait for it. One that is gone is fine.
pub async fn terminate(ec2: &Client, id: &str, urgency: Urgency) -> Result<()> {
    match ec2.terminate_instances().instance_ids(id).skip_os_shutdown(urgency == Urgency::Now).send().await {
        Err(error) if !is_unknown(&error) => Err(failed("TerminateInstances")(error)),
        _ => Ok(()),
    }
}

/// Removes an AMI. Its snapshot stays.
pub async fn remove_image(ec2: &Client, id: &str) -> Result<()> {
    match ec2.deregister_image().image_id(id).send().await {
        // EC2 says so of one that was removed before.
        Err(error) if !is_unknown(&error) && error.code() != Some("InvalidAMIID.Unavailable") => {
            Err(failed("DeregisterImage")(error))
        }
        _ => Ok(()),
    }
}

/// Removes a snapshot, which its AMI keeps for a moment after its end.
pub async fn remove_snapshot(ec2: &Client, id: &str) -> Result<()> {
    let delete = || ec2.delete_snapshot().snapshot_id(id).send();
    match settled(|error| error.code() == Some("InvalidSnapshot.InUse"), delete).await {
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
