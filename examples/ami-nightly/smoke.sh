#!/bin/sh
# Launch an AMI, and wait until EC2 says that the instance is reached and answers. Needs the AWS command line.
#
#     smoke.sh REGION AMI
#
# INSTANCE_TYPE (t3.micro) and SUBNET (that of the account's default VPC) say where. Ends with 0 when the instance is up; it is
# terminated in any case. Replace the last line by what your image is for: a request to its address, for instance.
set -eu

[ $# = 2 ] || {
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
export AWS_REGION="$1" AWS_DEFAULT_REGION="$1"
ami=$2
if [ -n "${SUBNET:-}" ]; then set -- --subnet-id "$SUBNET"; else set --; fi
# One that outlives this script powers itself off, and is then terminated.
later='#!/bin/sh
shutdown -P +30'
instance=$(aws ec2 run-instances --image-id "$ami" --instance-type "${INSTANCE_TYPE:-t3.micro}" "$@" \
    --instance-initiated-shutdown-behavior terminate --user-data "$later" \
    --tag-specifications 'ResourceType=instance,Tags=[{Key=Name,Value=karat smoke test}]' \
    --query 'Instances[0].InstanceId' --output text)
trap 'aws ec2 terminate-instances --instance-ids "$instance" --output text >/dev/null' EXIT
trap 'exit 130' INT TERM
aws ec2 wait instance-running --instance-ids "$instance"
aws ec2 wait instance-status-ok --instance-ids "$instance"
