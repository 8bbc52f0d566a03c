group = client("autoscaling")
ami, second = available("first"), available("second")
data = {"ImageId": ami, "InstanceType": "t3.micro"}
ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData=data)
template = {"LaunchTemplateName": "web", "Version": "$Default"}
name = dict(AutoScalingGroupName="web")
group.create_auto_scaling_group(**name, LaunchTemplate=template, MinSize=0, MaxSize=1, AvailabilityZones=["us-east-1a"])

# The template's versions name the image that was asked for.
ec2.create_launch_template_version(LaunchTemplateName="web", LaunchTemplateData=data | {"ImageId": second})
versions = ec2.describe_launch_template_versions(LaunchTemplateName="web")["LaunchTemplateVersions"]
assert {v["LaunchTemplateData"]["ImageId"] for v in versions} == {ami, second}
ec2.modify_launch_template(LaunchTemplateName="web", DefaultVersion="2")

# One refresh at a time; it takes its time.
refused("ValidationError", group.start_instance_refresh, AutoScalingGroupName="none")
id = group.start_instance_refresh(**name)["InstanceRefreshId"]
refused("InstanceRefreshInProgress", group.start_instance_refresh, **name)


def refreshed():
    return group.describe_instance_refreshes(**name, InstanceRefreshIds=[id])["InstanceRefreshes"][0]["Status"]


assert refreshed() == "InProgress"
wait("the refresh", lambda: refreshed() == "Successful")
id = group.start_instance_refresh(**name)["InstanceRefreshId"]
group.cancel_instance_refresh(**name)
assert refreshed() == "Cancelled"

# Its instances are of the image too.
group.set_desired_capacity(**name, DesiredCapacity=1)
instances = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
assert [i["ImageId"] for i in instances] == [second], instances
