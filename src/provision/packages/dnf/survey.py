# Lists the machine's repositories, with the variables in their URIs replaced.
base = start()
base.read_all_repos()
tell("machine", architecture=base.conf.basearch)
for repo in base.repos.iter_enabled():
    tell(
        "repository",
        name=repo.id,
        uris=list(repo.baseurl or []),
        mirrors=repo.metalink or repo.mirrorlist or "",
        signed=bool(repo.repo_gpgcheck and repo.gpgkey),
    )
