//! Makes a machine: uploads its disk, unless that was done before, registers it as an AMI, and starts it.

use std::hash::{BuildHasher, Hasher, RandomState};

use anyhow::{Context, Result, anyhow, bail};
use aws_sdk_ec2::{
    Client,
    operation::{
        register_image::builders::RegisterImageFluentBuilder, run_instances::builders::RunInstancesFluentBuilder,
    },
    types::{
        ArchitectureValues, BlockDeviceMapping, BootModeValues, EbsBlockDevice, HttpTokensState, ImageState,
        ImdsSupportValues, InstanceMetadataOptionsRequest, InstanceType, ResourceType, SnapshotState, VolumeType,
    },
};
use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    client::{Clients, failed, is_unknown, settled},
    found::{self, id_of, poll},
    order::Order,
    signals::Signals,
    tags::{self, Tags},
    undo::{Made, undo},
    upload,
};
use crate::instance::{Name, local::launch::Interrupted, local::store::taken, provider::Summary};

/// What EC2 calls the first disk of machines like these.
pub const ROOT: &str = "/dev/xvda";

/// One making of a machine.
pub struct Creation<'a> {
    order: &'a Order,
    /// A number that nothing else has.
    number: String,
}

/// Makes it. When that fails, or a signal comes, all that was made is removed; what cannot be is named.
pub async fn create(clients: &Clients, order: &Order) -> Result<Summary> {
    let (mut signals, mut made) = (Signals::new()?, Made::default());
    let creation = Creation::new(order);
    let error = match creation.make(clients, &signals, &mut made).await {
        Ok(summary) => return Ok(summary),
        Err(error) => error,
    };
    if !made.is_begun {
        return Err(error);
    }
    eprintln!("unikernel: removing what was made");
    signals.begin_again();
    match signals.or(undo(&clients.ec2, &made, &creation.number)).await {
        Ok(()) => Err(error),
        Err(left) if left.is::<Interrupted>() => {
            bail!(
                "{error:#}; the removal was interrupted, so look for what has the tag {}={}",
                tags::CREATION,
                creation.number
            )
        }
        Err(left) => Err(anyhow!("{error:#}; {left:#}")),
    }
}

impl Creation<'_> {
    /// With a number of its own.
    pub fn new(order: &Order) -> Creation<'_> {
        // The keys of a new map are random.
        let number = || RandomState::new().build_hasher().finish();
        Creation { order, number: format!("{:016x}{:016x}", number(), number()) }
    }

    async fn make(&self, clients: &Clients, signals: &Signals, made: &mut Made) -> Result<Summary> {
        let name = signals.or(self.name(&clients.ec2)).await?;
        let image = match signals.or(found::image_with(&clients.ec2, &self.order.disk.sha256)).await? {
            Some(image) => {
                let id = image.image_id.context("EC2 names no id of the image")?;
                eprintln!("unikernel: {id} has this image already");
                id
            }
            None => self.upload(clients, signals, made).await?,
        };
        signals.or(until_available(&clients.ec2, &image)).await?;
        signals.check()?;
        // Finished whatever comes: a machine whose number nobody has heard of would run on.
        made.begin();
        let call = self.run_instances(&clients.ec2, &image, &name);
        let started = call.send().await;
        made.hear(&started);
        let started = started.map_err(failed("RunInstances"))?;
        let instance = started.instances.unwrap_or_default().pop().context("RunInstances names no machine")?;
        let id = id_of(&instance)?.to_owned();
        made.add(&id);
        let instance = signals.or(found::until(&clients.ec2, &id, found::has_started)).await?;
        found::summary(&instance).with_context(|| format!("machine {id} has lost its tags"))
    }

    /// That nobody has yet.
    async fn name(&self, ec2: &Client) -> Result<Name> {
        let taken_names: Vec<Name> = found::all(ec2).await?.into_iter().map(|summary| summary.name).collect();
        let wanted = self.order.plain_name();
        if self.order.name.is_some() && taken_names.contains(&wanted) {
            bail!("{} --provider aws`", taken(&wanted).trim_end_matches('`'));
        }
        let names = std::iter::once(wanted.clone()).chain((2..).map(|number| wanted.numbered(number)));
        names.into_iter().find(|name| !taken_names.contains(name)).context("there is no end of numbers")
    }

    /// A new AMI, which may not be available yet.
    async fn upload(&self, Clients { ec2, ebs }: &Clients, signals: &Signals, made: &mut Made) -> Result<String> {
        let disk = &self.order.disk;
        made.begin();
        let snapshot = upload::start(ebs, disk, &self.tags(), &self.image_name()).await?;
        made.add(&snapshot);
        eprintln!("unikernel: uploading {} blocks of {} into {snapshot}", disk.block_count, self.order.image);
        signals.or(upload::fill(ebs, &snapshot, disk)).await?;
        signals.or(until_complete(ec2, &snapshot)).await?;
        signals.check()?;
        made.begin();
        let call = self.register_image(ec2, &snapshot);
        let registered = call.send().await;
        made.hear(&registered);
        let registered = registered.map_err(failed("RegisterImage"))?;
        let image = registered.image_id.context("RegisterImage names no image")?;
        made.add(&image);
        // They were asked for with the image; what heeds only this call has them all the same.
        let tag = || ec2.create_tags().resources(&image).set_tags(Some(self.image_tags(&snapshot).ec2())).send();
        signals.or(async { settled(is_unknown, tag).await.map_err(failed("CreateTags")) }).await?;
        Ok(image)
    }

    fn tags(&self) -> Tags {
        Tags::of(&self.number, &self.order.disk.sha256, &self.order.image)
    }

    fn image_tags(&self, snapshot: &str) -> Tags {
        self.tags().with(tags::SNAPSHOT, snapshot)
    }

    /// An account has each only once; the number is for an AMI with this disk that is not ours.
    pub fn image_name(&self) -> String {
        format!("unikernel-{}-{}", &self.order.disk.sha256[..32], &self.number[..8])
    }

    fn register_image(&self, ec2: &Client, snapshot: &str) -> RegisterImageFluentBuilder {
        let volume = EbsBlockDevice::builder().snapshot_id(snapshot).volume_size(self.order.disk.volume_gib());
        let volume = volume.volume_type(VolumeType::Gp3).delete_on_termination(true).build();
        let call = ec2.register_image().name(self.image_name()).description(&self.order.image);
        let call = call.architecture(ArchitectureValues::X8664).virtualization_type("hvm");
        // The disk starts by both. Without this mark EC2 refuses all machines of today, though there is no driver for ENA yet.
        let call = call.boot_mode(BootModeValues::UefiPreferred).ena_support(true).imds_support(ImdsSupportValues::V20);
        let root = BlockDeviceMapping::builder().device_name(ROOT).ebs(volume).build();
        let call = call.root_device_name(ROOT).block_device_mappings(root);
        call.tag_specifications(self.image_tags(snapshot).for_new(ResourceType::Image))
    }

    fn run_instances(&self, ec2: &Client, image: &str, name: &Name) -> RunInstancesFluentBuilder {
        let (order, options) = (self.order, &self.order.aws);
        let tags = self.tags().with(tags::NAME, name.as_str()).with("Name", name.as_str());
        let tags = order.build.iter().fold(tags, |tags, build| tags.with(tags::BUILD, build));
        let metadata = InstanceMetadataOptionsRequest::builder().http_tokens(HttpTokensState::Required).build();
        let call = ec2.run_instances().image_id(image).min_count(1).max_count(1).client_token(&self.number);
        let call = call.instance_type(InstanceType::from(order.instance_type.as_str())).metadata_options(metadata);
        let call = call.set_subnet_id(options.subnet.clone());
        let groups = Some(options.security_groups.clone()).filter(|groups| !groups.is_empty());
        let user_data = (!order.environment.is_empty()).then(|| BASE64_STANDARD.encode(order.environment.text()));
        let call = call.set_security_group_ids(groups).set_user_data(user_data);
        let kinds = [ResourceType::Instance, ResourceType::Volume];
        call.set_tag_specifications(Some(kinds.map(|kind| tags.for_new(kind)).into()))
    }
}

async fn until_complete(ec2: &Client, snapshot: &str) -> Result<()> {
    let is_complete = async || {
        let found = ec2.describe_snapshots().snapshot_ids(snapshot).send().await;
        let found = match found {
            Err(error) if is_unknown(&error) => return Ok(None),
            found => found.map_err(failed("DescribeSnapshots"))?,
        };
        match found.snapshots().first().and_then(|snapshot| snapshot.state()) {
            Some(SnapshotState::Error) => bail!("AWS could not make {snapshot} of the upload; try again"),
            state => Ok((state == Some(&SnapshotState::Completed)).then_some(())),
        }
    };
    poll(&format!("snapshot {snapshot}"), is_complete).await
}

async fn until_available(ec2: &Client, image: &str) -> Result<()> {
    let is_available = async || {
        let found = ec2.describe_images().image_ids(image).send().await;
        let found = match found {
            Err(error) if is_unknown(&error) => return Ok(None),
            found => found.map_err(failed("DescribeImages"))?,
        };
        let found = found.images().first();
        match found.and_then(|image| image.state()) {
            Some(ImageState::Failed | ImageState::Error | ImageState::Invalid) => {
                let reason = found.and_then(|image| image.state_reason()?.message()).unwrap_or("it says no more");
                bail!("AWS could not make {image}: {reason}")
            }
            state => Ok((state == Some(&ImageState::Available)).then_some(())),
        }
    };
    poll(&format!("image {image}"), is_available).await
}
