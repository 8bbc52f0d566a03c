# An upload goes through its states, and its blocks are checked.
snapshot = ebs.start_snapshot(VolumeSize=1, Tags=[{"Key": "a", "Value": "b"}], Timeout=60, Description="d")
assert snapshot["BlockSize"] == BLOCK and snapshot["Status"] == "pending"
id = snapshot["SnapshotId"]
assert status(id) == "pending"
put(id, 0, block(1))
put(id, 2047, block(2))
refused("ValidationException", put, snapshot=id, index=2048, data=block(1))
wrong = dict(SnapshotId=id, BlockIndex=1, BlockData=block(1), DataLength=BLOCK, ChecksumAlgorithm="SHA256")
refused("ValidationException", ebs.put_snapshot_block, **wrong, Checksum=checksum(b""))
short = wrong | dict(DataLength=512, BlockData=b"x" * 512, Checksum=checksum(b"x" * 512))
refused("ValidationException", ebs.put_snapshot_block, **short)
refused("ResourceNotFoundException", put, snapshot="snap-0123", index=0, data=block(1))

# Its end is checked too: how many blocks, and the checksum of their checksums.
refused("ValidationException", ebs.complete_snapshot, SnapshotId=id, ChangedBlocksCount=3)
whole = hashlib.sha256(hashlib.sha256(block(1)).digest() + hashlib.sha256(block(2)).digest()).digest()
linear = dict(ChecksumAlgorithm="SHA256", ChecksumAggregationMethod="LINEAR")
refused("ValidationException", ebs.complete_snapshot, SnapshotId=id, ChangedBlocksCount=2, Checksum=checksum(b""), **linear)
done = base64.b64encode(whole).decode()
assert ebs.complete_snapshot(SnapshotId=id, ChangedBlocksCount=2, Checksum=done, **linear)["Status"] == "pending"
refused("ValidationException", put, snapshot=id, index=0, data=block(1))
wait("the snapshot", lambda: status(id) == "completed")
shown = ec2.describe_snapshots(OwnerIds=["self"], Filters=[{"Name": "tag:a", "Values": ["b"]}])["Snapshots"]
assert [(s["SnapshotId"], s["VolumeSize"], s["Description"]) for s in shown] == [(id, 1, "d")]

# What was written is read, with a token from the list.
blocks = ebs.list_snapshot_blocks(SnapshotId=id)
assert [b["BlockIndex"] for b in blocks["Blocks"]] == [0, 2047] and blocks["VolumeSize"] == 1
token = blocks["Blocks"][1]["BlockToken"]
read = ebs.get_snapshot_block(SnapshotId=id, BlockIndex=2047, BlockToken=token)
assert read["BlockData"].read() == block(2) and read["Checksum"] == checksum(block(2))
refused("ValidationException", ebs.get_snapshot_block, SnapshotId=id, BlockIndex=0, BlockToken=token)

# A child has its parent's blocks and its own; lists come in pages.
child = uploaded({index: block(3) for index in range(1, 150)}, ParentSnapshotId=id)
first = ebs.list_snapshot_blocks(SnapshotId=child, MaxResults=100)
rest = ebs.list_snapshot_blocks(SnapshotId=child, MaxResults=100, NextToken=first["NextToken"])
assert len(first["Blocks"]) == 100 and len(rest["Blocks"]) == 51 and "NextToken" not in rest
changed = ebs.list_changed_blocks(FirstSnapshotId=id, SecondSnapshotId=child)["ChangedBlocks"]
assert [b["BlockIndex"] for b in changed] == list(range(1, 150)) and "FirstBlockToken" not in changed[0]

# The same client token is the same snapshot; with another size it is an error.
a, b = (ebs.start_snapshot(VolumeSize=1, ClientToken="t")["SnapshotId"] for _ in range(2))
assert a == b
refused("ConflictException", ebs.start_snapshot, VolumeSize=2, ClientToken="t")

# An abandoned upload can be deleted, and nothing else that is not there.
ec2.delete_snapshot(SnapshotId=a)
refused("InvalidSnapshot.NotFound", ec2.delete_snapshot, SnapshotId=a)
for id in (id, child):
    ec2.delete_snapshot(SnapshotId=id)
