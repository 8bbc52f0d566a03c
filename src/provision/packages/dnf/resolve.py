# Resolves the template's packages with the machine's own dnf and changes nothing: dnf writes only to $KARAT_DIRECTORY.
# `asked` holds the request.
# Exit codes: 71 a repository cannot be read, 73 no resolution, 75 not as declared.
import hashlib
import subprocess

base = start("resolve")
conf = base.conf
conf.proxy = asked["proxy"]
conf.install_weak_deps = asked["recommends"]
base.read_all_repos()


def plain(uri):
    """Returns the URI to request from the proxy, which itself uses https where declared."""
    return "http://" + uri[len("https://"):] if uri.startswith("https://") else uri


uris = {}
for repo in base.repos.iter_enabled():
    uris[repo.id] = repo.baseurl[0]
    repo.baseurl = [plain(uri) for uri in repo.baseurl]
for own in asked["repositories"]:
    key = own["key"]
    base.repos.add_new_repo(
        own["name"],
        conf,
        baseurl=[plain(own["uri"])],
        gpgcheck=False,
        repo_gpgcheck=bool(key),
        gpgkey=["file://" + os.path.join(os.getcwd(), key)] if key else [],
    )
    uris[own["name"]] = own["uri"]
for repo in base.repos.iter_enabled():
    repo.proxy = asked["proxy"]
    repo.skip_if_unavailable = False
    repo.metadata_expire = 0
try:
    base.fill_sack(load_system_repo=True)
except dnf.exceptions.RepoError as error:
    fail(71, error)


def signers(repo, directory):
    """Returns the fingerprints of the index's valid signatures. dnf checks the signature, but does not report the key."""
    home = os.path.join(directory, "pubring")
    index = os.path.join(directory, "repodata", "repomd.xml")
    command = ["gpg", "--homedir", home, "--batch", "--no-autostart", "--status-fd", "1", "--verify", index + ".asc", index]
    try:
        said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
    except OSError:
        return []
    lines = (line.split() for line in said.decode(errors="replace").splitlines())
    return sorted(words[2] for words in lines if words[1:2] == ["VALIDSIG"])


for repo in base.repos.iter_enabled():
    directory = repo._repo.getCachedir()
    with open(os.path.join(directory, "repodata", "repomd.xml"), "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    tell(
        "archive",
        uri=uris[repo.id],
        in_release=digest,
        date=repo._repo.getMaxTimestamp(),
        signed_by=signers(repo, directory) if repo.repo_gpgcheck else [],
    )

available = base.sack.query().available()
for pin in asked["pins"]:
    versions = available.filter(name=pin["name"])
    wanted = [package for package in versions if package.evr == pin["version"]]
    if wanted:
        base.sack.add_excludes(versions.difference(versions.filter(pkg=wanted)))

unknown = []
for word in asked["install"]:
    name, _, version = word.partition("=")
    try:
        base.install(f"{name}-{version}" if version else name)
    except dnf.exceptions.MarkingError:
        unknown.append(word)
if unknown:
    fail(73, "unknown", *unknown)
for name in asked["remove"]:
    try:
        base.remove(name)
    except dnf.exceptions.MarkingError:
        pass  # It is not installed.
try:
    base.resolve(allow_erasing=bool(asked["remove"]))
except dnf.exceptions.DepsolveError as error:
    fail(73, error)

declared = {word.partition("=")[0] for word in asked["install"]}
coming = list(base.transaction.install_set)
names = {package.name for package in coming}
# Dependencies first, as far as there is an order: rpm makes its own when it installs.
for package in sorted(coming, key=lambda package: (package.name in declared, package.name, package.arch)):
    algorithm, digest = package.chksum
    tell(
        "package",
        name=package.name,
        version=evr(package.epoch, package.version, package.release),
        architecture=package.arch,
        declared=package.name in declared,
        archive=uris[package.reponame],
        path=package.location,
        size=package.downloadsize,
        algorithm=hawkey.chksum_name(algorithm),
        digest=digest.hex(),
    )
for package in base.transaction.remove_set:
    if package.name not in names:
        tell("removal", name=package.name, version=evr(package.epoch, package.version, package.release))
missing = declared - names - {name for name, _, _ in installed()}
if missing:
    fail(75, *sorted(missing), "would not be installed")
