//! Examples in the help. `tests/store/examples.rs` runs those that need no guest.

/// Examples by verb.
pub(super) const EXAMPLES: [(&str, &str); 47] = [
    (
        "init",
        "
  karat init web                        # write web/web.toml
  karat init shop.toml --name web-shop  # another file, another image name",
    ),
    (
        "validate",
        "
  karat validate web.toml
  karat validate *.toml                 # skips lock files",
    ),
    (
        "plan",
        "
  karat plan web.toml
  karat plan web.toml --format json",
    ),
    (
        "lock",
        "
  karat lock web.toml                   # write web.lock.toml
  karat lock --update web.toml          # newest version of every package
  karat lock -P nginx web.toml          # newest version of nginx",
    ),
    (
        "build",
        "
  karat build web.toml
  karat build --jobs 2 web.toml mail.toml
  karat build --locked --if-changed web.toml
  karat build web.toml --format json",
    ),
    (
        "rebuild",
        "
  karat rebuild web                     # newest image of that name
  karat rebuild web/stable --format json",
    ),
    (
        "list",
        "
  karat list
  karat list --format jsonl             # one image per line, for scripts",
    ),
    (
        "show",
        "
  karat show web                        # newest image of that name
  karat show web/stable                 # image that the channel points at
  karat show web --lineage              # its bases, and what is built on it
  karat show web --why /etc/nginx/nginx.conf   # what put the file there
  karat show web --format json          # its manifest",
    ),
    (
        "diff",
        "
  karat diff web/stable web             # from the released image to the newest
  karat diff web/stable web --format markdown
  karat diff --exit-code web/stable web/testing",
    ),
    (
        "scan",
        "
  karat scan web
  karat scan web.qcow2 --without vulnerabilities
  karat scan web --policy web.toml --sarif web.sarif --sbom web.cdx.json",
    ),
    (
        "promote",
        "
  karat promote web web/testing         # newest image of that name
  karat promote web/testing web/stable --check
  karat promote web/testing web/stable --reason \"tests passed\"",
    ),
    (
        "rollback",
        "
  karat rollback web/stable --check     # rehearse it
  karat rollback web/stable --reason \"login fails\"",
    ),
    (
        "sign",
        "
  karat sign web                        # newest image of that name
  karat sign web/testing --key ada      # with another key",
    ),
    (
        "verify",
        "
  karat verify                          # whole store
  karat verify web/stable --require 2   # signatures of two keys
  karat verify web.qcow2                # an exported image",
    ),
    (
        "keys",
        "
  karat keys generate                   # key that builds sign with
  karat keys trust ada ada.pub          # accept the signatures of another key
  karat keys list",
    ),
    (
        "remove",
        "
  karat remove mail --dry-run             # only image of that name
  karat remove 3aaf264e1bdf 8b411f57bc64  # an image and its base",
    ),
    (
        "prune",
        "
  karat prune --dry-run                 # what would be marked or deleted
  karat prune --keep 3 --keep-within 14d
  karat prune --runs                    # leftovers of killed builds",
    ),
    (
        "export",
        "
  karat export web -o web.qcow2         # newest image of that name
  karat export web/stable -o .          # as web.qcow2 in this directory",
    ),
    (
        "import",
        "
  karat import disk.qcow2 --name mail   # image of another builder
  karat import web --from other-store   # copy from the store in that directory",
    ),
    (
        "publish",
        "
  karat publish web/stable              # in the regions of its template
  karat publish web --region eu-central-1 --verify",
    ),
    (
        "schema",
        "
  karat schema >karat.schema.json       # the first line of a template names it",
    ),
    (
        "iam-policy",
        "
  karat iam-policy web.toml              # for `karat publish` of its image
  karat iam-policy web.toml --channels --prune",
    ),
    (
        "outdated",
        "
  karat outdated web.toml
  karat outdated web/stable              # packages of the released image",
    ),
    (
        "run",
        "
  karat run web --ssh                    # shell in its newest image
  karat run web/stable -p 8080:80        # http://127.0.0.1:8080/
  karat run web.qcow2 --console
  karat run web -- systemctl is-system-running",
    ),
    (
        "ssh",
        "
  karat ssh                              # guest that a failed build keeps
  karat ssh web -- journalctl -b",
    ),
    (
        "logs",
        "
  karat logs                             # newest build
  karat logs web                         # newest build of that image
  karat logs --list",
    ),
    (
        "attest",
        "
  karat attest web --scan                # sign the result of the last scan
  karat attest web --provenance",
    ),
    (
        "revoke",
        "
  karat revoke 3aaf264e1bdf --reason \"its nginx calls home\"
  karat revoke web@latest --reason \"leaked key\" --cascade",
    ),
    (
        "history",
        "
  karat history                          # last move of each channel
  karat history web/stable",
    ),
    (
        "wait",
        "
  karat wait web/stable --timeout 1h     # until it is promoted or rolled back
  karat wait web/stable --exec ./deploy",
    ),
    (
        "pin",
        "
  karat pin web --reason \"evidence\"       # prune and remove keep it",
    ),
    (
        "unpin",
        "
  karat unpin web",
    ),
    (
        "audit",
        "
  karat audit --last 10",
    ),
    (
        "audit verify",
        "
  karat audit verify
  karat audit verify --checkpoint kept.checkpoint",
    ),
    (
        "audit checkpoint",
        "
  karat audit checkpoint >kept.checkpoint # keep it elsewhere",
    ),
    (
        "store status",
        "
  karat store status
  karat store status --keep 2            # what a pruning run would keep",
    ),
    (
        "db update",
        "
  karat db update                        # every feed
  karat db update debian",
    ),
    (
        "db import",
        "
  karat db import all.zip                # feed of osv.dev, from elsewhere",
    ),
    (
        "db status",
        "
  karat db status",
    ),
    (
        "keys generate",
        "
  karat keys generate
  karat keys generate --key release      # sign with `--key release`",
    ),
    (
        "keys trust",
        "
  karat keys trust ada ada.pub
  karat keys trust ada ada.pub --valid-before 20280101",
    ),
    (
        "keys revoke",
        "
  karat keys revoke ada.pub",
    ),
    (
        "keys list",
        "
  karat keys list
  karat keys list --format json",
    ),
    (
        "doctor",
        "
  karat doctor
  karat doctor --format json",
    ),
    (
        "version",
        "
  karat version
  karat version --format json",
    ),
    (
        "completions",
        "
  karat completions bash >/etc/bash_completion.d/karat
  karat completions zsh >_karat          # in a directory of $fpath",
    ),
    (
        "man",
        "
  karat man build | man -l -
  karat man --output man1                # pages of all commands",
    ),
];
