# An image keeps what it was registered with.
snapshot = uploaded({0: block(1)}, size=2)
tags = [{"ResourceType": "image", "Tags": [{"Key": "karat", "Value": "web"}]}]
ami = register("web", snapshot, BootMode="uefi-preferred", ImdsSupport="v2.0", TagSpecifications=tags, Description="d")
assert image(ami)["State"] == "pending"
wait("the image", lambda: image(ami)["State"] == "available")
shown = image(ami)
root = shown["BlockDeviceMappings"][0]
assert (root["DeviceName"], root["Ebs"]["SnapshotId"], root["Ebs"]["VolumeSize"]) == ("/dev/xvda", snapshot, 2)
assert (shown["Architecture"], shown["BootMode"], shown["ImdsSupport"]) == ("x86_64", "uefi-preferred", "v2.0")
assert shown["Tags"] == [{"Key": "karat", "Value": "web"}] and shown["OwnerId"] == sts.get_caller_identity()["Account"]
found = ec2.describe_images(Owners=["self"], Filters=[{"Name": "tag:karat", "Values": ["w*"]}])["Images"]
assert [i["ImageId"] for i in found] == [ami]

refused("InvalidParameterValue", ec2.describe_images, Filters=[{"Name": "colour", "Values": ["red"]}])

# Names are unique; snapshots have to be there, whole, and fit.
refused("InvalidAMIName.Duplicate", register, name="web", snapshot=snapshot)
refused("InvalidAMIName.Malformed", register, name="w*b", snapshot=snapshot)
refused("InvalidSnapshot.NotFound", register, name="other", snapshot="snap-0123")
pending = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
refused("IncorrectState", register, name="other", snapshot=pending)
ec2.delete_snapshot(SnapshotId=pending)
small = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot, "VolumeSize": 1}}]
refused("InvalidBlockDeviceMapping", register, name="other", snapshot=snapshot, BlockDeviceMappings=small)
refused("InvalidSnapshot.InUse", ec2.delete_snapshot, SnapshotId=snapshot)

# Tags of an image and a snapshot, all or none.
ec2.create_tags(Resources=[ami, snapshot], Tags=[{"Key": "k", "Value": "v"}])
refused("InvalidAMIID.NotFound", ec2.create_tags, Resources=[snapshot, "ami-0123"], Tags=[{"Key": "x", "Value": "y"}])
listed = ec2.describe_tags(Filters=[{"Name": "resource-id", "Values": [ami, snapshot]}])["Tags"]
assert {(t["ResourceId"], t["Key"]) for t in listed} == {(ami, "karat"), (ami, "k"), (snapshot, "k")}
ec2.delete_tags(Resources=[snapshot], Tags=[{"Key": "k"}])
assert "Tags" not in ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]

# Sharing, with accounts and organisations.
arn = "arn:aws:organizations::123456789012:organization/o-123example"
ec2.modify_image_attribute(ImageId=ami, LaunchPermission={"Add": [{"UserId": "111122223333"}, {"OrganizationArn": arn}]})
with_whom = ec2.describe_image_attribute(ImageId=ami, Attribute="launchPermission")["LaunchPermissions"]
assert with_whom == [{"UserId": "111122223333"}, {"OrganizationArn": arn}], with_whom
ec2.modify_image_attribute(ImageId=ami, Attribute="launchPermission", OperationType="remove", UserIds=["111122223333"])
refused("InvalidAMIAttributeItemValue", ec2.modify_image_attribute, ImageId=ami, LaunchPermission={"Add": [{"UserId": "1"}]})
add = dict(Attribute="createVolumePermission", OperationType="add", UserIds=["111122223333"])
ec2.modify_snapshot_attribute(SnapshotId=snapshot, **add)
may = ec2.describe_snapshot_attribute(SnapshotId=snapshot, Attribute="createVolumePermission")
assert may["CreateVolumePermissions"] == [{"UserId": "111122223333"}]

# Deprecation, protection, disabling.
ec2.enable_image_deprecation(ImageId=ami, DeprecateAt="2037-01-01T00:00:30Z")
assert image(ami)["DeprecationTime"] == "2037-01-01T00:01:00.000Z"
refused("InvalidParameterValue", ec2.enable_image_deprecation, ImageId=ami, DeprecateAt="2007-01-01T00:00:30Z")
ec2.disable_image_deprecation(ImageId=ami)
assert "DeprecationTime" not in image(ami)
ec2.enable_image_deregistration_protection(ImageId=ami)
refused("OperationNotPermitted", ec2.deregister_image, ImageId=ami)
ec2.disable_image_deregistration_protection(ImageId=ami)
ec2.disable_image(ImageId=ami)
assert image(ami)["State"] == "disabled" and not ec2.describe_images(Owners=["self"])["Images"]
refused("InvalidAMIID.Unavailable", run, ami=ami)
ec2.enable_image(ImageId=ami)

# A parameter of this kind has to hold an image.
ami_of = dict(Type="String", DataType="aws:ec2:image", Overwrite=True)
refused("ValidationException", ssm.put_parameter, Name="/karat/web", Value="ami-0123", **ami_of)
ssm.put_parameter(Name="/karat/web", Value=ami, **ami_of)
assert ssm.get_parameter(Name="/karat/web")["Parameter"]["Value"] == ami
ssm.delete_parameter(Name="/karat/web")

# A copy in another region has the bytes, takes its time, and has a name of its own there.
west, west_ebs = client("ec2", "eu-west-1"), client("ebs", "eu-west-1")
refused("InvalidAMIID.NotFound", image, ami=ami, on=west)
copy = dict(Name="web", SourceImageId=ami, SourceRegion="us-east-1", ClientToken="t", CopyImageTags=True)
copied, again = (west.copy_image(**copy)["ImageId"] for _ in range(2))
assert copied == again and image(copied, west)["State"] == "pending"
wait("the copy", lambda: image(copied, west)["State"] == "available")
refused("IdempotentParameterMismatch", west.copy_image, **(copy | {"Name": "more"}))
theirs = image(copied, west)["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
listed = west_ebs.list_snapshot_blocks(SnapshotId=theirs)["Blocks"][0]
read = west_ebs.get_snapshot_block(SnapshotId=theirs, BlockIndex=0, BlockToken=listed["BlockToken"])
assert theirs != snapshot and read["BlockData"].read() == block(1)
assert image(copied, west)["Tags"] == image(ami)["Tags"]

# The end: once, and then the snapshot can go.
west.deregister_image(ImageId=copied, DeleteAssociatedSnapshots=True)
refused("InvalidSnapshot.NotFound", west.delete_snapshot, SnapshotId=theirs)
ec2.deregister_image(ImageId=ami)
refused("InvalidAMIID.Unavailable", ec2.deregister_image, ImageId=ami)
refused("InvalidAMIID.NotFound", ec2.deregister_image, ImageId="ami-0123")
ec2.delete_snapshot(SnapshotId=snapshot)
