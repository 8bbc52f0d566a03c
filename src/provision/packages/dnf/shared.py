# First part of every dnf script. Runs in dnf's own Python, in $KARAT_DIRECTORY, which is removed afterwards. Lines that begin
# with a record separator are for karat, and users do not see them.
import base64
import json
import os
import sys

import dnf
import dnf.rpm
import hawkey
import rpm


def tell(kind, **fields):
    print("\x1e" + kind, json.dumps(fields, sort_keys=True), flush=True)


def fail(code, *words):
    print("karat:", *words, flush=True)
    sys.exit(code)


def release():
    """Returns the release version. dnf reads it from a package that other distributions do not have."""
    found = dnf.rpm.detect_releasever("/")
    if found is None and os.path.exists("/etc/os-release"):
        with open("/etc/os-release") as lines:
            for line in lines:
                name, _, value = line.strip().partition("=")
                if name == "VERSION_ID":
                    found = value.strip("\"'")
    return found or "unknown"


def start(private=None):
    """Returns a dnf without questions; with a private directory, it keeps its state there."""
    base = dnf.Base()
    conf = base.conf
    conf.read()
    conf.releasever = release()
    conf.assumeyes = True
    conf.best = True
    conf.install_weak_deps = False
    if private:
        names = ["cachedir", "logdir"] + (["persistdir"] if private != "install" else [])
        for name in names:
            path = os.path.join(os.getcwd(), private, name)
            os.makedirs(path)
            setattr(conf, name, path)
    return base


def installed():
    """Lists the installed packages: name, version and architecture."""
    for header in rpm.TransactionSet("/").dbMatch():
        if header["name"] != "gpg-pubkey":
            yield header["name"], evr(header["epoch"], header["version"], header["release"]), header["arch"]


def evr(epoch, version, number):
    return (f"{epoch}:" if epoch and int(epoch) else "") + f"{version}-{number}"
