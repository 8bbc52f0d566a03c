#!/bin/sh
# Build every template of a directory, one after the other, and keep what came of it.
#
#     nightly.sh TEMPLATES RESULTS
#
# RESULTS/history.jsonl    one line a build: time, template, exit code, id (empty when it failed)
# RESULTS/<name>.id        the id of the last good build of <name>.toml
# RESULTS/<name>.log       karat's messages of the last build
# RESULTS/<name>.changes   packages that have other versions than the night before
# Ends with 0 when every build did, else with the exit code of the first that failed.
set -eu

[ $# = 2 ] || {
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
templates=$1
results=$2
mkdir -p "$results"

# What a killed job left, before new builds want the memory.
karat prune --runs || echo "nightly: prune failed; building all the same" >&2

first_failure=0
for template in "$templates"/*.toml; do
    id=''
    [ -e "$template" ] || {
        echo "nightly: no templates in $templates" >&2
        exit 2
    }
    case $template in *.lock.toml) continue ;; esac
    name=$(basename "$template" .toml)
    code=0
    # Brings the packages up to date; the build then takes exactly those.
    { karat lock --update "$template" >"$results/$name.changes" &&
        id=$(karat build --locked "$template"); } 2>"$results/$name.log" || code=$?
    printf '{"time":"%s","template":"%s","exit":%s,"id":"%s"}\n' \
        "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$name" "$code" "$id" >>"$results/history.jsonl"
    if [ "$code" = 0 ]; then
        # Beside its place, then renamed: a reader never sees half an id.
        echo "$id" >"$results/$name.id.new"
        mv "$results/$name.id.new" "$results/$name.id"
        echo "$name $id"
    else
        echo "$name failed with $code; the end of its log:" >&2
        tail -n 20 "$results/$name.log" >&2
        [ "$first_failure" != 0 ] || first_failure=$code
    fi
    # Cancelled: do not start the next one.
    [ "$code" != 130 ] || break
done
exit "$first_failure"
