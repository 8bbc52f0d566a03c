#!/usr/bin/env python3
"""Time karat against Packer on the same image: nginx-light on the same base disk, under TCG.

    benches/packer/run.py [--runs 3] [--only karat|packer] [--keep]

Both start from the same disk with the same memory, CPUs and accelerator, install the same package from
the guest's own sources, shut the guest down gracefully and leave a standalone compressed qcow2. Runs
alternate, so that a busy machine is fair to both. Packer keeps its defaults except where they would
give another result (a backing file, no compression).

KARAT             the binary (default: target/release/karat under CARGO_TARGET_DIR)
KARAT_BENCH_BASE  the base disk (default: an image that karat makes from templates/debian-minimal.toml)
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "nginx-light"
CPUS, MEMORY_MIB, DISK_MIB = 2, 1024, 4096
SAMPLE_SECONDS = 0.1
# What must be reached; a run that misses one ends with code 1.
MAX_RATIO, MAX_RSS_MIB, MAX_CPU_PERCENT, MAX_PLAN_MS = 0.75, 100, 5.0, 50


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--runs", type=int, default=3, help="runs of each (default 3)")
    arguments.add_argument("--only", choices=["karat", "packer"], help="time one of the two")
    arguments.add_argument("--keep", action="store_true", help="keep the scratch directory")
    options = arguments.parse_args()

    tools = [options.only] if options.only else ["packer", "karat"]
    scratch = Path(tempfile.mkdtemp(prefix="karat-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")))
    try:
        base = base_disk(scratch)
        results = {tool: [] for tool in tools}
        for run in range(1, options.runs + 1):
            for tool in tools:
                result = {"packer": run_packer, "karat": run_karat}[tool](scratch / f"{tool}-{run}", base)
                results[tool].append(result)
                print(f"run {run}: {tool} {result['wall']:.1f} s", file=sys.stderr, flush=True)
        met = report(results, plan_times(scratch, base) if "karat" in tools else {})
    finally:
        if options.keep:
            print(f"kept {scratch}", file=sys.stderr)
        else:
            shutil.rmtree(scratch)
    sys.exit(0 if met else 1)


def karat():
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    return os.environ.get("KARAT", str(Path(target, "release", "karat")))


def base_disk(scratch):
    given = os.environ.get("KARAT_BENCH_BASE")
    if given:
        return Path(given).resolve(strict=True)
    store = ["--store", str(scratch / "base-store")]
    print("making a base disk (name one in KARAT_BENCH_BASE to skip this)", file=sys.stderr)
    template = str(ROOT / "templates" / "debian-minimal.toml")
    built = check(karat(), "build", template, *store).strip().splitlines()[-1]
    base = scratch / "base.qcow2"
    check(karat(), "export", built, "-o", str(base), *store)
    return base


def run_karat(directory, base):
    directory.mkdir()
    template = karat_template(directory, base)
    command = [karat(), "build", str(template), "--store", str(directory / "store")]
    result = timed(command, directory / "log", watch_guest=True)
    store = ["--store", str(directory / "store")]
    (built,) = json.loads(check(karat(), "list", "--json", *store))
    image = directory / "image.qcow2"
    check(karat(), "export", built["id"], "-o", str(image), *store)
    result["image"] = standalone_size(image)
    if directory.name != "karat-1":  # the first stays, to be looked at with --keep
        shutil.rmtree(directory / "store")
        image.unlink()
    return result


def karat_template(directory, base):
    template = directory / "bench.toml"
    template.write_text(
        f"""[image]
name = "bench"

[base.file]
path = {json.dumps(str(base))}

[builder.qemu]
cpus = {CPUS}
memory = "{MEMORY_MIB}MiB"
disk_size = "{DISK_MIB}MiB"
accelerator = "tcg"

[packages.apt]
install = ["{PACKAGE}"]

[output]
format = "qcow2"
"""
    )
    return template


def run_packer(directory, base):
    directory.mkdir()
    key = directory / "key"
    check("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    seed(directory, key.with_suffix(".pub").read_text().strip())
    template = {
        "builders": [
            {
                "type": "qemu",
                "iso_url": str(base),
                "iso_checksum": "none",
                "disk_image": True,
                "use_backing_file": False,
                "skip_compaction": False,
                "disk_compression": True,
                "format": "qcow2",
                "disk_size": f"{DISK_MIB}M",
                "disk_interface": "virtio",
                "net_device": "virtio-net",
                "accelerator": "tcg",
                "cpus": CPUS,
                "memory": MEMORY_MIB,
                "headless": True,
                "output_directory": str(directory / "out"),
                "vm_name": "bench.qcow2",
                "ssh_username": "root",
                "ssh_private_key_file": str(key),
                "ssh_timeout": "20m",
                "shutdown_command": "shutdown -P now",
                # Not -drive: that would replace Packer's own disk.
                "qemuargs": [["-cdrom", str(directory / "seed.iso")]],
            }
        ],
        "provisioners": [
            {
                "type": "shell",
                "environment_vars": ["DEBIAN_FRONTEND=noninteractive"],
                "inline": [
                    "cloud-init status --wait || true",  # done is enough; a warning ends it with 2
                    "apt-get update",
                    f"apt-get install -y --no-install-recommends {PACKAGE}",
                ],
            }
        ],
    }
    (directory / "bench.json").write_text(json.dumps(template, indent=2))
    quiet = {"CHECKPOINT_DISABLE": "1", "PACKER_NO_COLOR": "1", "PACKER_CACHE_DIR": str(directory / "cache")}
    result = timed(["packer", "build", str(directory / "bench.json")], directory / "log", environment=quiet)
    result["image"] = standalone_size(directory / "out" / "bench.qcow2")
    shutil.rmtree(directory / "out")
    return result


def seed(directory, public_key):
    """A NoCloud seed that lets root in with the key."""
    (directory / "meta-data").write_text("instance-id: bench\nlocal-hostname: bench\n")
    (directory / "user-data").write_text(
        "#cloud-config\ndisable_root: false\nusers:\n  - name: root\n    lock_passwd: true\n"
        f"    ssh_authorized_keys:\n      - {public_key}\n"
    )
    files = [str(directory / name) for name in ("meta-data", "user-data")]
    iso = str(directory / "seed.iso")
    check("xorriso", "-as", "mkisofs", "-quiet", "-volid", "cidata", "-joliet", "-rock", "-o", iso, *files)


def timed(command, log, environment=None, watch_guest=False):
    """Runs a command to its end; its own memory and CPU (not its children's) are read from /proc."""
    result = {"rss": 0, "cpu": 0.0, "guest_cpu": None}
    guest = None  # (seconds, CPU) when QEMU was first seen
    with log.open("w") as output:
        start = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
        next_look = 0.0
        while process.poll() is None:
            now = time.monotonic() - start
            if now >= next_look:
                next_look = now + SAMPLE_SECONDS
                sample(process.pid, result)
                if watch_guest and has_guest(process.pid):
                    guest = guest or (now, result["cpu"])
                    if now > guest[0]:
                        result["guest_cpu"] = 100 * (result["cpu"] - guest[1]) / (now - guest[0])
            time.sleep(0.01)
        result["wall"] = time.monotonic() - start
    if process.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{tail}")
    return result


def sample(pid, result):
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return  # just ended
    result["cpu"] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    peak = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    if peak:  # a zombie has none
        result["rss"] = int(peak[0]) / 1024


def has_guest(pid):
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return any(Path(f"/proc/{child}/comm").read_text().startswith("qemu-system") for child in children)
    except OSError:
        return False


def standalone_size(image):
    info = json.loads(check("qemu-img", "info", "--output=json", str(image)))
    if "backing-filename" in info or info["format"] != "qcow2":
        raise SystemExit(f"{image} is not a standalone qcow2")
    return image.stat().st_size


def plan_times(scratch, base):
    """Median milliseconds of 20 runs of each verb that touches no machine."""
    directory = scratch / "plan"
    directory.mkdir()
    template = str(karat_template(directory, base))
    times = {}
    for verb in ("validate", "plan"):
        runs = []
        for _ in range(20):
            start = time.monotonic()
            check(karat(), verb, template)
            runs.append(1000 * (time.monotonic() - start))
        times[verb] = statistics.median(runs)
    return times


def check(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def report(results, plans):
    print(f"{'':8} {'median':>9} {'runs':>24} {'image':>10} {'own RSS':>9} {'own CPU':>8}")
    for tool, runs in results.items():
        walls = " ".join(f"{run['wall']:.1f}" for run in runs)
        last = runs[-1]
        cpu = 100 * statistics.median(run["cpu"] / run["wall"] for run in runs)
        rss = max(run["rss"] for run in runs)
        print(
            f"{tool:8} {median(runs):7.1f} s {walls:>24} {last['image'] / 2**20:6.0f} MiB {rss:5.0f} MiB {cpu:6.1f} %"
        )
    checks = []
    if len(results) == 2:
        checks.append(("karat / packer, wall time", median(results["karat"]) / median(results["packer"]), MAX_RATIO))
    if "karat" in results:
        runs = results["karat"]
        checks.append(("karat's own memory, MiB", max(run["rss"] for run in runs), MAX_RSS_MIB))
        guest = [run["guest_cpu"] for run in runs if run["guest_cpu"] is not None]
        if guest:
            checks.append(("karat's own CPU while the guest runs, %", statistics.median(guest), MAX_CPU_PERCENT))
    checks += [(f"karat {verb}, ms", milliseconds, MAX_PLAN_MS) for verb, milliseconds in plans.items()]
    print()
    for name, value, limit in checks:
        print(f"{name:42} {value:8.2f}  (at most {limit}){'' if value <= limit else '  MISSED'}")
    return all(value <= limit for _, value, limit in checks)


def median(runs):
    return statistics.median(run["wall"] for run in runs)


if __name__ == "__main__":
    main()
