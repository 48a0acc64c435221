//! Instances in Amazon EC2, as moto plays it: made of real images, looked at with AWS' own client, and what goes wrong on the way.

use crate::{
    life::signal,
    moto::{Fate, Moto, Way, alone, bytes, command_at, spawn, stage_with_disk},
    support::{Shown, Stage},
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    process::Command,
};

fn ends_with(command: Command, stage: &Stage) -> Shown {
    Shown::of(spawn(command).wait_with_output().unwrap(), stage.folder.path())
}

fn good(shown: Shown) -> Shown {
    assert_eq!(shown.code, 0, "{shown:?}");
    shown
}

fn read(shown: Shown) -> Value {
    serde_json::from_str(&good(shown).stdout).unwrap()
}

#[test]
fn the_life_of_an_instance() {
    let (moto, stage) = (Moto::new(), stage_with_disk(""));
    let created = good(moto.run(&stage, "create web --image disk --instance-type t3.micro"));
    assert!(created.stdout.starts_with("web: running; its address is "), "{created:?}");
    assert!(
        created.stderr.starts_with("unikernel: there are no drivers for Amazon's network ports (ENA)"),
        "{created:?}"
    );
    let list = read(moto.run(&stage, "list --json"));
    let one = &list[0];
    let found = json!([
        list.as_array().unwrap().len(),
        one["name"],
        one["provider"],
        one["state"],
        one["image"],
        one["machine"]
    ]);
    assert_eq!(found, json!([1, "web", "aws", "running", "disk", "t3.micro"]), "{list}");
    assert!(
        one["id"].as_str().unwrap().starts_with("i-") && one.get("folder").is_none() && one.get("memory").is_none()
    );
    let logs = good(moto.run(&stage, "logs web --tail 1"));
    assert_eq!(logs.stdout, "Enabling fast FPU save and restore... done.\n");
    let all = good(moto.run(&stage, "logs web"));
    assert!(all.stdout.lines().count() > 5 && all.stdout.ends_with(&logs.stdout), "{all:?}");
    assert_eq!(good(moto.run(&stage, "stop web")).stdout, "web: stopped\n");
    assert_eq!(good(moto.run(&stage, "stop web --now")).stdout, "web: stopped\n");
    assert_eq!(read(moto.run(&stage, "list --json"))[0]["addresses"], json!([]));
    // What has ended is not followed.
    assert_eq!(good(moto.run(&stage, "logs web --tail 1 --follow")).stdout, logs.stdout);
    assert!(good(moto.run(&stage, "start web")).stdout.starts_with("web: running"));
    assert_eq!(good(moto.run(&stage, "delete web")).stdout, "");
    assert_eq!(moto.left(&stage), [""; 0]);
    let gone = moto.run(&stage, "stop web");
    assert!(
        gone.code == 125 && gone.stderr.starts_with("error: there is no instance called `web` in this region"),
        "{gone:?}"
    );
    assert_eq!(read(moto.run(&stage, "list --json")), json!([]));
}

/// Until the machine stops.
#[test]
fn a_log_is_followed() {
    let (moto, stage) = (Moto::new(), stage_with_disk(""));
    good(moto.run(&stage, "create web --image disk"));
    let mut child = spawn(moto.command(&stage, "logs web --tail 1 --follow"));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("Enabling fast FPU save and restore... done."));
    good(moto.run(&stage, "stop web"));
    // The server says the same each time, so nothing is new.
    assert_eq!(lines.next(), None);
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_cloud_has_what_is_on_the_disk() {
    let (moto, stage) = (Moto::new(), stage_with_disk("-- log=json"));
    let words =
        "create web --image disk --env GREETING=hello --security-group GROUP --subnet SUBNET -- metadata=aws log=text";
    let place = moto.ask(
        &stage,
        "subnet = ec2.describe_subnets()['Subnets'][0]\n\
         group = ec2.create_security_group(GroupName='web', Description='web', VpcId=subnet['VpcId'])\n\
         say([group['GroupId'], subnet['SubnetId']])",
    );
    let words = words.replace("GROUP", place[0].as_str().unwrap()).replace("SUBNET", place[1].as_str().unwrap());
    let before = bytes(&stage, "disk");
    good(moto.run(&stage, &words));
    assert!(bytes(&stage, "disk") == before, "the image of whoever made it stays as it is");
    let found = moto.ask(
        &stage,
        "machine = ec2.describe_instances()['Reservations'][0]['Instances'][0]\n\
         data = ec2.describe_instance_attribute(InstanceId=machine['InstanceId'], Attribute='userData')\n\
         image = ec2.describe_images(Owners=['self'])['Images'][0]\n\
         tags = {tag['Key']: tag['Value'] for tag in image['Tags']}\n\
         snapshot = tags['unikernel:snapshot']\n\
         blocks = ebs.list_snapshot_blocks(SnapshotId=snapshot)\n\
         wrong = 0\n\
         import base64, hashlib\n\
         with open(folder + '/copy', 'wb') as copy:\n\
         \u{20}   copy.truncate(67 << 20)\n\
         \u{20}   for block in blocks['Blocks']:\n\
         \u{20}       one = ebs.get_snapshot_block(SnapshotId=snapshot, BlockIndex=block['BlockIndex'], BlockToken='x')\n\
         \u{20}       data_of_block = one['BlockData'].read()\n\
         \u{20}       sha256 = base64.b64encode(hashlib.sha256(data_of_block).digest()).decode()\n\
         \u{20}       wrong += len(data_of_block) != 512 * 1024 or sha256 != one['Checksum'] or not any(data_of_block)\n\
         \u{20}       copy.seek(block['BlockIndex'] * 512 * 1024)\n\
         \u{20}       copy.write(data_of_block)\n\
         say([base64.b64decode(data['UserData']['Value']).decode(), tags['unikernel:image'], tags['unikernel:image-sha256'], wrong,\n\
         \u{20}    blocks['VolumeSize'], len(blocks['Blocks']), machine['SubnetId'], machine['SecurityGroups'][0]['GroupId'],\n\
         \u{20}    machine['MetadataOptions']['HttpTokens']])",
    );
    let count = found[5].as_u64().unwrap();
    let sha256 = stage.tool("sha256sum", "copy");
    let expected =
        json!(["env.GREETING=\"hello\"\n", "disk", sha256[..64], 0, 1, count, place[1], place[0], "required"]);
    assert_eq!(found, expected);
    // 134 blocks are in the disk, and most of them empty.
    assert!((2..40).contains(&count), "{count}");
    assert_eq!(stage.run("image arguments copy").stdout, "metadata=aws log=text\n");
    assert_eq!(stage.run("image arguments disk").stdout, "log=json\n");
}

#[test]
fn an_image_is_uploaded_once_and_goes_with_the_last_instance() {
    let (moto, stage) = (Moto::new(), stage_with_disk(""));
    let first = good(moto.run(&stage, "create --image disk"));
    assert!(first.stdout.starts_with("disk: running") && first.stderr.contains("uploading "), "{first:?}");
    let second = good(moto.run(&stage, "create --image disk"));
    assert!(second.stdout.starts_with("disk-2: running"), "{second:?}");
    assert!(second.stderr.contains(" has this image already\n") && !second.stderr.contains("uploading "), "{second:?}");
    // The ELF file that the disk was made of becomes the same disk.
    let third = good(moto.run(&stage, "create third --image app"));
    assert!(third.stderr.contains(" has this image already\n"), "{third:?}");
    let taken = moto.run(&stage, "create third --image app");
    let expected = "error: there is an instance `third` already; take another name, or remove that one with \
                    `cargo unikernel instance delete third --provider aws`\n";
    assert!(taken.code == 125 && taken.stderr.ends_with(expected), "{taken:?}");
    good(moto.run(&stage, "delete disk third"));
    assert_eq!(moto.left(&stage).len(), 3, "the machine, the image, the snapshot");
    good(moto.run(&stage, "delete disk-2 --now"));
    assert_eq!(moto.left(&stage), [""; 0]);
}

#[test]
fn a_removal_that_was_interrupted_goes_on() {
    let (moto, stage) = (Moto::new(), stage_with_disk(""));
    good(moto.run(&stage, "create web --image disk"));
    let held =
        Way::to(&moto, |request| if request.contains("Action=DeregisterImage") { Fate::Held } else { Fate::Through });
    let mut child = spawn(command_at(&held.url, &stage, "delete web"));
    held.wait_for("Action=DeregisterImage", &mut child);
    signal(child.id(), "KILL");
    child.wait_with_output().unwrap();
    assert_eq!(moto.left(&stage).len(), 2, "the image, the snapshot");
    good(moto.run(&stage, "delete web"));
    assert_eq!(moto.left(&stage), [""; 0]);
    assert_eq!(moto.run(&stage, "delete web").code, 125);
}

#[test]
fn a_signal_undoes_what_was_done() {
    for (request, name, code) in [("/blocks/", "INT", 130), ("Action=CreateTags", "TERM", 143)] {
        let (moto, stage) = (Moto::new(), stage_with_disk(""));
        let way = Way::to(&moto, move |text| if text.contains(request) { Fate::Held } else { Fate::Through });
        let mut child = spawn(command_at(&way.url, &stage, "create web --image disk -- log=text"));
        way.wait_for(request, &mut child);
        let left = moto.left(&stage);
        assert!(!left.is_empty(), "{request}");
        signal(child.id(), name);
        let shown = Shown::of(child.wait_with_output().unwrap(), stage.folder.path());
        assert_eq!(shown.code, code, "{shown:?}");
        assert!(
            shown.stderr.ends_with("unikernel: removing what was made\nunikernel: interrupted; nothing was changed\n"),
            "{shown:?}"
        );
        assert_eq!(moto.left(&stage), [""; 0], "{request}");
    }
}

#[test]
fn a_second_signal_ends_the_removal() {
    let (moto, stage) = (Moto::new(), stage_with_disk(""));
    let is_held = |text: &str| text.contains("/blocks/") || text.contains("Action=DescribeTags");
    let way = Way::to(&moto, move |text| if is_held(text) { Fate::Held } else { Fate::Through });
    let mut child = spawn(command_at(&way.url, &stage, "create web --image disk"));
    for request in ["/blocks/", "Action=DescribeTags"] {
        way.wait_for(request, &mut child);
        signal(child.id(), "INT");
    }
    let shown = Shown::of(child.wait_with_output().unwrap(), stage.folder.path());
    assert!(shown.code == 125 && shown.stderr.contains("look for what has the tag unikernel:creation="), "{shown:?}");
    assert_eq!(moto.left(&stage).len(), 1, "the snapshot");
}

#[test]
fn a_server_that_goes_away_leaves_what_the_error_names() {
    let (moto, stage) = (Moto::new(), stage_with_disk(""));
    let way = Way::to(&moto, |text| if text.contains("/blocks/") { Fate::Gone } else { Fate::Through });
    let shown = ends_with(command_at(&way.url, &stage, "create web --image disk"), &stage);
    let left = moto.left(&stage);
    assert!(
        shown.code == 125 && shown.stderr.contains("error: AWS does not answer PutSnapshotBlock; AWS_ENDPOINT_URL is "),
        "{shown:?}"
    );
    assert_eq!(left.len(), 1);
    assert!(shown.stderr.contains(&format!("{0}: `aws ec2 delete-snapshot --snapshot-id {0}`", left[0])), "{shown:?}");
    assert!(shown.stderr.contains("whatever else has the tag unikernel:creation="), "{shown:?}");
}

#[test]
fn a_machine_whose_start_nobody_heard_of_is_removed() {
    let (moto, stage) = (Moto::new(), stage_with_disk(""));
    let way =
        Way::to(&moto, |text| if text.contains("Action=RunInstances") { Fate::AnswerLost } else { Fate::Through });
    let shown = ends_with(command_at(&way.url, &stage, "create web --image disk"), &stage);
    assert!(shown.code == 125 && shown.stderr.contains("error: AWS does not answer RunInstances"), "{shown:?}");
    assert!(!shown.stderr.contains("could not remove"), "{shown:?}");
    assert_eq!(moto.left(&stage), [""; 0]);
    let machines = moto.ask(
        &stage,
        "say([i['State']['Name'] for r in ec2.describe_instances()['Reservations'] for i in r['Instances']])",
    );
    assert!(!machines.as_array().unwrap().is_empty(), "it was started: {machines}");
}

#[test]
fn a_refusal_is_told_and_undone() {
    let (moto, stage) = (Moto::new(), stage_with_disk(""));
    let shown = moto.run(&stage, "create web --image disk --subnet subnet-nowhere");
    assert!(shown.code == 125 && shown.stderr.contains("error: AWS refuses RunInstances: "), "{shown:?}");
    assert!(shown.stderr.contains("(InvalidSubnetID.NotFound)"), "{shown:?}");
    assert_eq!(moto.left(&stage), [""; 0]);
}

/// Whatever kind of file the disk is in.
#[test]
fn boot_arguments_go_into_any_image() {
    let stage = Stage::new();
    for format in ["qcow2", "gce", "oci", "elf"] {
        let made = stage.run(&format!("image create --image app -f {format} -o {format} -- log=json"));
        assert_eq!(made.code, 0, "{made:?}");
        let words = format!("create web --image {format} --dry-run -- log=text");
        let shown = ends_with(command_at("http://127.0.0.1:1", &stage, &words), &stage);
        assert!(shown.code == 0 && shown.stdout.contains("RunInstances"), "{format}: {shown:?}");
    }
}

#[test]
fn a_dry_run_asks_nobody() {
    let stage = stage_with_disk("");
    // Nobody listens there, and there are no credentials.
    let mut command =
        command_at("http://127.0.0.1:1", &stage, "create --image disk --env A=secret --dry-run -- metadata=aws");
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_REGION");
    let shown = good(ends_with(command, &stage));
    let calls: Vec<&str> = shown.stdout.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    let expected = "DescribeInstances DescribeImages The StartSnapshot PutSnapshotBlock CompleteSnapshot DescribeSnapshots RegisterImage \
                    CreateTags DescribeImages RunInstances DescribeInstances";
    assert_eq!(calls.join(" "), expected, "{shown:?}");
    assert!(
        shown.stdout.contains(" InstanceType=t3.nano ") && shown.stdout.contains(" UserData=<[\"A\"]>"),
        "{shown:?}"
    );
    assert!(!shown.stdout.contains("secret") && shown.stderr.is_empty(), "{shown:?}");
    assert_eq!(stage.left(), ["disk", "disk.sha256"]);
}

#[test]
fn who_and_where_must_be_known() {
    let stage = stage_with_disk("");
    let check = |missing: &str, expected: &str| {
        let mut command = command_at("http://127.0.0.1:1", &stage, "list");
        let shown = ends_with(
            {
                command.env_remove(missing);
                command
            },
            &stage,
        );
        assert!(shown.code == 125 && shown.stderr.starts_with(expected), "{shown:?}");
    };
    check(
        "AWS_ACCESS_KEY_ID",
        "error: there are no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    );
    check("AWS_REGION", "error: no AWS region is known; set AWS_REGION, such as `AWS_REGION=eu-central-1`");
    check("AWS_NOTHING", "error: AWS does not answer DescribeInstances; AWS_ENDPOINT_URL is http://127.0.0.1:1: ");
}

#[test]
fn what_a_cloud_cannot_do_is_said() {
    let (moto, stage) = (Moto::new(), stage_with_disk(""));
    good(moto.run(&stage, "create web --image disk"));
    let check = |words: &str, expected: &str| {
        let shown = moto.run(&stage, words);
        assert!(shown.code == 125 && shown.stderr.contains(expected), "{words}: {shown:?}");
    };
    check("stats", "EC2 tells nothing of what `web` uses; its processor's share is in CloudWatch");
    check("clone web other", "EC2 copies no memory of a machine that runs");
    check("console web", "`cargo unikernel instance logs --follow web --provider aws`");
    check("logs web --since 5", "EC2 keeps no times of lines");
    check(
        "create other --image disk --memory 1G",
        "with `--provider aws`, `--memory` cannot be had: the kind of machine says it",
    );
    check("create other --image disk --env A=1", "add `-- metadata=aws`");
    check("create other --image disk.sha256", "is no image that starts by itself");
}

#[test]
fn the_environment_can_choose_the_place() {
    let (moto, stage) = (Moto::new(), Stage::new());
    let mut command = alone(stage.command("instance list --json"), &moto.url, &stage);
    command.env("UNIKERNEL_PROVIDER", "aws");
    assert_eq!(read(ends_with(command, &stage)), json!([]));
}
