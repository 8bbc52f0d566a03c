ami = available("web")
snapshot = image(ami)["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
key = ec2.create_key_pair(KeyName="k", KeyType="ed25519")
group = ec2.create_security_group(GroupName="g", Description="d")["GroupId"]

# What is not there is refused.
refused("InvalidAMIID.NotFound", run, ami="ami-0123456789abcdef0")
refused("InvalidKeyPair.NotFound", run, ami=ami, KeyName="none")
refused("InvalidParameterValue", run, ami=ami, InstanceType="t9.huge")
refused("InvalidGroup.NotFound", run, ami=ami, SecurityGroupIds=["sg-0123"])
refused("InvalidParameterValue", run, ami=ami, InstanceType="t4g.micro")
small = [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 3}}]

# It is pending, then runs, at an address of loopback.
tags = [{"ResourceType": kind, "Tags": [{"Key": "karat", "Value": "run"}]} for kind in ("instance", "volume")]
asked = dict(KeyName="k", SecurityGroupIds=[group], TagSpecifications=tags, ClientToken="t", BlockDeviceMappings=small)
made = run(ami, **asked)
id = made["InstanceId"]
assert made["State"]["Name"] == "pending" and made["ImageId"] == ami
assert made["PrivateIpAddress"].startswith("127.0.7.") and made["PublicIpAddress"] == made["PrivateIpAddress"]
assert run(ami, **asked)["InstanceId"] == id
refused("IdempotentParameterMismatch", run, ami=ami, **(asked | {"InstanceType": "t3.small"}))
wait("the instance", lambda: state(id) == "running")
shown = instance(id)
assert (shown["ImageId"], shown["RootDeviceName"], shown["Architecture"]) == (ami, "/dev/xvda", "x86_64")
subnet = ec2.describe_subnets(SubnetIds=[shown["SubnetId"]])["Subnets"][0]
assert subnet["CidrBlock"].startswith("127.0.")
volume = shown["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
assert ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["Size"] == 3


def of(name, *values):
    found = ec2.describe_instances(Filters=[{"Name": "tag:karat", "Values": ["run"]}, {"Name": name, "Values": values}])
    return [i["InstanceId"] for r in found["Reservations"] for i in r["Instances"]]


assert of("instance-state-name", "running") == [id] and of("instance-state-name", "stopped") == []
assert of("image-id", ami) == [id]
refused("DependencyViolation", ec2.delete_security_group, GroupId=group)

# It stops and starts.
assert ec2.stop_instances(InstanceIds=[id])["StoppingInstances"][0]["CurrentState"]["Name"] == "stopping"
wait("the stop", lambda: state(id) == "stopped")
ec2.start_instances(InstanceIds=[id])
assert state(id) == "pending"
refused("IncorrectInstanceState", ec2.stop_instances, InstanceIds=[id])
wait("the start", lambda: state(id) == "running")

# Its volume's snapshot has the image's bytes, and so has an image that is made of it.
taken = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
assert status(taken) == "pending"
wait("the snapshot", lambda: status(taken) == "completed")
assert len(ebs.list_snapshot_blocks(SnapshotId=taken)["Blocks"]) == 1
second = ec2.create_image(InstanceId=id, Name="second")["ImageId"]
refused("InvalidAMIName.Duplicate", ec2.create_image, InstanceId=id, Name="second")
wait("the image", lambda: image(second)["State"] == "available")
device = image(second)["BlockDeviceMappings"][0]["Ebs"]
assert device["VolumeSize"] == 3 and len(ebs.list_snapshot_blocks(SnapshotId=device["SnapshotId"])["Blocks"]) == 1

# A launch template's image.
data = {"ImageId": second, "InstanceType": "t3.micro", "KeyName": "k"}
ec2.create_launch_template(LaunchTemplateName="launch", LaunchTemplateData=data)
by_template = ec2.run_instances(LaunchTemplate={"LaunchTemplateName": "launch"}, MinCount=1, MaxCount=1)["Instances"][0]
assert by_template["ImageId"] == second, by_template

# The end.
for gone in (id, by_template["InstanceId"]):
    ended = ec2.terminate_instances(InstanceIds=[gone])["TerminatingInstances"][0]
    assert ended["CurrentState"]["Name"] == "shutting-down"
    wait("the end", lambda: state(gone) == "terminated")
refused("IncorrectInstanceState", ec2.start_instances, InstanceIds=[id])
refused("InvalidInstanceID.NotFound", ec2.terminate_instances, InstanceIds=["i-0123456789abcdef0"])
refused("InvalidVolume.NotFound", ec2.describe_volumes, VolumeIds=[volume])
ec2.delete_security_group(GroupId=group)
ec2.delete_key_pair(KeyName="k")
ec2.delete_launch_template(LaunchTemplateName="launch")
for ami in (ami, second):
    ec2.deregister_image(ImageId=ami, DeleteAssociatedSnapshots=True)
ec2.delete_snapshot(SnapshotId=taken)
