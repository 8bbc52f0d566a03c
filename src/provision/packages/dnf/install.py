# Installs and removes packages as locked, without network: the package files are in $KARAT_DIRECTORY.
# `asked` holds the declared packages and the removals.
# Exit codes: 73 installing and removing, 75 not as locked.
import glob

for name, version, architecture in installed():
    tell("before", name=name, version=version, architecture=architecture)
files = sorted(glob.glob(os.path.join(os.getcwd(), "*.rpm")))
declared = {word.partition("=")[0] for word in asked["install"]}
had = {name for name, _, _ in installed()}

if files or asked["remove"]:
    # dnf keeps only its own transaction history.
    base = start("install")
    base.fill_sack(load_system_repo=True, load_available_repos=False)
    coming = base.add_remote_rpms(files, strict=True)
    for package in coming:
        base.package_install(package)
    for name in asked["remove"]:
        try:
            base.remove(name)
        except dnf.exceptions.MarkingError:
            pass  # not installed
    try:
        base.resolve(allow_erasing=True)
    except dnf.exceptions.DepsolveError as error:
        fail(73, error)
    wanted = {(package.name, package.evr, package.arch) for package in coming}
    found = {(package.name, package.evr, package.arch) for package in base.transaction.install_set}
    if wanted != found:
        fail(75, "the locked packages do not fit this machine:", *("-".join(one) for one in sorted(wanted ^ found)))
    for item in base.transaction:
        if item.name not in declared and item.name not in had:
            item.reason = 1  # a dependency: `dnf autoremove` may take it
    try:
        base.do_transaction()
    except dnf.exceptions.Error as error:
        fail(73, error)
    base.close()
for name, version, architecture in installed():
    tell("after", name=name, version=version, architecture=architecture)
os.sync()
