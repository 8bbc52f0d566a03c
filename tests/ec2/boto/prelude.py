"""What all of these scripts use: clients, and checks. boto3 knows AWS's interfaces and nothing of the bench."""

import base64
import gzip
import hashlib
import os
import time

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

BLOCK = 524288
ONCE = Config(retries={"total_max_attempts": 1})


def client(service, region="us-east-1", config=ONCE):
    return boto3.client(service, region_name=region, config=config)


ec2, ebs, ssm, sts = (client(name) for name in ("ec2", "ebs", "ssm", "sts"))


def refused(code, call, **parameters):
    try:
        call(**parameters)
    except ClientError as error:
        found = error.response["Error"]["Code"]
        assert found == code, f"{found} rather than {code}: {error}"
        return error.response
    raise AssertionError(f"{code} was expected")


def wait(what, done, limit=20):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if found := done():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} takes too long")


def block(byte):
    return bytes([byte]) * BLOCK


def checksum(data):
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def put(snapshot, index, data, on=ebs):
    return on.put_snapshot_block(
        SnapshotId=snapshot,
        BlockIndex=index,
        BlockData=data,
        DataLength=BLOCK,
        Checksum=checksum(data),
        ChecksumAlgorithm="SHA256",
    )


def status(snapshot, on=ec2):
    return on.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]["State"]


def uploaded(blocks, size=1, on=ebs, ec2=ec2, **more):
    """A completed snapshot."""
    snapshot = on.start_snapshot(VolumeSize=size, **more)["SnapshotId"]
    for index, data in blocks.items():
        put(snapshot, index, data, on)
    on.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=len(blocks))
    wait("the snapshot", lambda: status(snapshot, ec2) == "completed")
    return snapshot


def register(name, snapshot, on=ec2, **more):
    parameters = dict(
        Name=name,
        Architecture="x86_64",
        VirtualizationType="hvm",
        RootDeviceName="/dev/xvda",
        EnaSupport=True,
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot, "VolumeType": "gp3"}}],
    )
    return on.register_image(**(parameters | more))["ImageId"]


def image(ami, on=ec2):
    return on.describe_images(ImageIds=[ami])["Images"][0]


def available(name, snapshot=None, on=ec2, **more):
    """An image that can be started."""
    ami = register(name, snapshot or uploaded({0: block(1)}), on, **more)
    wait("the image", lambda: image(ami, on)["State"] == "available")
    return ami


def run(ami, **more):
    parameters = dict(ImageId=ami, InstanceType="t3.micro", MinCount=1, MaxCount=1)
    return ec2.run_instances(**(parameters | more))["Instances"][0]


def open_group():
    """A security group that lets SSH in."""
    group = ec2.create_security_group(GroupName="open", Description="d")["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    return group


def instance(id):
    return ec2.describe_instances(InstanceIds=[id])["Reservations"][0]["Instances"][0]


def state(id):
    return instance(id)["State"]["Name"]
