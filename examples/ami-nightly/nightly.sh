#!/bin/sh
# Build an image, publish it as AMIs, try them, and let ami-web/stable point to them, or leave it where it is.
#
#     nightly.sh TEMPLATE
#
# TEMPLATE's file is named after its image: ami-web.toml for [image] name = "ami-web".
# KARAT_NIGHTLY_SMOKE  a command that gets REGION and AMI, and ends with 0 when that AMI is good (smoke.sh beside this)
# KARAT_NIGHTLY_IMAGE  a disk that something else has built (x86_64, boots by BIOS): recorded and scanned in place of a build
# KARAT                karat's binary (karat)
# Ends with 0 when stable points to the new image, with 1 when the smoke test failed, else with karat's exit code.
set -eu

[ $# = 1 ] || {
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
template=$1
name=$(basename "$template" .toml)
karat=${KARAT:-karat}
smoke=${KARAT_NIGHTLY_SMOKE:-$(dirname "$0")/smoke.sh}

step() { echo "== $*" >&2; }

step "remove what killed jobs have left"
"$karat" prune --runs --ec2 || echo "nightly: prune failed; building all the same" >&2

if [ -n "${KARAT_NIGHTLY_IMAGE:-}" ]; then
    step "record and scan $KARAT_NIGHTLY_IMAGE"
    id=$("$karat" import "$KARAT_NIGHTLY_IMAGE" --name "$name" --arch x86_64 --firmware bios)
    "$karat" sign "$id"
    # Nobody has declared what is in it.
    "$karat" scan "$id" --policy "$template" --without undeclared >&2
    set -- --template "$template"
else
    step "build and scan $template"
    "$karat" lock --update "$template" >&2
    id=$("$karat" build --locked "$template")
    set --
fi

step "publish $id"
amis=$("$karat" publish "$id" "$@")
echo "$amis"
# Prints the move; nothing when it is the image of an earlier night.
moved=$("$karat" promote "$id" "$name/candidate" --reason "nightly")

step "try each AMI"
green=true
while read -r region ami; do
    "$smoke" "$region" "$ami" >&2 </dev/null || {
        green=false
        echo "nightly: $ami in $region is not good" >&2
    }
done <<END
$amis
END

if ! $green; then
    step "$name/stable stays"
    if [ -n "$moved" ]; then
        "$karat" rollback "$name/candidate" --reason "the smoke test failed" >&2 ||
            echo "nightly: $name/candidate stays on the bad image" >&2
    fi
    exit 1
fi

step "$name/stable moves, and with it what the channel moves at AWS"
"$karat" promote "$id" "$name/stable" --reason "the smoke test is green" >&2

step "AMIs that nothing uses, and then images that nothing holds"
{ "$karat" prune --ec2 && "$karat" prune; } >&2 || echo "nightly: prune failed; tomorrow is another night" >&2
