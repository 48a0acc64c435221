//! A dry run: the calls that would be made, in their order, without one of them.

use super::{
    create::{Creation, ROOT},
    disk::BLOCK_LEN,
    order::Order,
    tags::{self, Tags},
    upload::{IN_FLIGHT, TIMEOUT_MINUTES},
};

/// One call a line. What is known only then is in angle brackets.
pub fn plan(order: &Order) -> String {
    let (name, disk) = (order.plain_name(), &order.disk);
    let (ours, sha256) = (format!("tag:{}={}", tags::MANAGED, tags::US), &disk.sha256);
    let tags = Tags::of("<number>", sha256, &order.image).0;
    let tags = tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
    let build = order.build.iter().map(|build| format!(",{}={build}", tags::BUILD)).collect::<String>();
    let (count, gib, checksum) = (disk.block_count, disk.volume_gib(), &disk.checksum);
    let options = &order.aws;
    let place = options.subnet.iter().map(|subnet| format!(" SubnetId={subnet}"));
    let place = place.chain(options.security_groups.iter().map(|group| format!(" SecurityGroupId={group}")));
    let user_data = match order.environment.is_empty() {
        true => String::new(),
        // The values may be secret.
        false => format!(" UserData=<{:?}>", order.environment),
    };
    let image_name = Creation::new(order).image_name();
    let image_name = &image_name[..image_name.len() - 8];
    [
        format!("ec2 DescribeInstances Filter={ours}"),
        format!("ec2 DescribeImages Owner=self Filter={ours} Filter=tag:{}={sha256}", tags::SHA256),
        "# The next six only if there is no such image:".into(),
        format!("ebs StartSnapshot VolumeSize={gib} Timeout={TIMEOUT_MINUTES} Tags={tags}"),
        format!(
            "ebs PutSnapshotBlock SnapshotId=<snapshot> DataLength={BLOCK_LEN} ChecksumAlgorithm=SHA256 # {count} times, {IN_FLIGHT} \
             at a time"
        ),
        format!(
            "ebs CompleteSnapshot SnapshotId=<snapshot> ChangedBlocksCount={count} Checksum={checksum} \
             ChecksumAlgorithm=SHA256 ChecksumAggregationMethod=LINEAR"
        ),
        "ec2 DescribeSnapshots SnapshotId=<snapshot> # until it is completed".into(),
        format!(
            "ec2 RegisterImage Name={image_name}<number> Description={} Architecture=x86_64 VirtualizationType=hvm \
             BootMode=uefi-preferred EnaSupport=true ImdsSupport=v2.0 RootDeviceName={ROOT} \
             BlockDeviceMapping={ROOT},<snapshot>,{gib},gp3,DeleteOnTermination Tags={tags},{}=<snapshot>",
            order.image,
            tags::SNAPSHOT
        ),
        "ec2 CreateTags ResourceId=<image> # the same".into(),
        "ec2 DescribeImages ImageId=<image> # until it is available".into(),
        format!(
            "ec2 RunInstances ImageId=<image> InstanceType={} MinCount=1 MaxCount=1{} HttpTokens=required{user_data} \
             Tags={tags},{}={name},Name={name}{build}",
            order.instance_type,
            place.collect::<String>(),
            tags::NAME
        ),
        "ec2 DescribeInstances InstanceId=<instance> # until it runs".into(),
    ]
    .join("\n")
}
