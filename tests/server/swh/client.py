"""The official client of Software Heritage, unmodified, against a larder whose URL is the first argument: each of its
methods that has to do with objects, origins and bundles, on the repositories of fixtures/swh.sh."""

import hashlib
import subprocess
import sys
import time

from requests import HTTPError
from swh.model.swhids import CoreSWHID
from swh.web.client.client import WebAPIClient

client = WebAPIClient(sys.argv[1] + "/api/1/")
repository = sys.argv[2]

REVISION = "swh:1:rev:28ac2944734b605aaac304223b0ede1f6276ac70"
MERGE = "swh:1:rev:307aa9e1140b976fb46c680d79c1fcfb3b0316b0"
DIRECTORY = "swh:1:dir:88181dbd4845f1fbd3678b39a5144b6e7851b578"
RELEASE = "swh:1:rel:6a4c775dc301057109f59194ebc3537dd6483630"
SNAPSHOT = "swh:1:snp:6748f87cd8b981b203909f1d081bff5f397e805f"
RIPGREP = "swh:1:snp:9e3f10835e3123024e9f8ec5ed6647baf20a27bf"
CONTENT = "swh:1:cnt:ce013625030ba8dba906f756967f9e9ca394464a"
ABSENT = "swh:1:rev:" + "0123456789" * 4


def git(*args):
    return subprocess.run(["git", *args], cwd=repository, check=True, capture_output=True).stdout


def same(found, expected):
    if found != expected:
        raise SystemExit(f"{found!r} is not {expected!r}")


def absent(exists, name):
    """Of what is not there the client says so by an error."""
    try:
        exists(name)
    except HTTPError as error:
        same(error.response.status_code, 404)
    else:
        raise SystemExit(f"{name} is there")


# Objects, each by `get`, which looks at the kind, and by its own method.
revision = client.get(MERGE)
same(str(revision["directory"]), DIRECTORY)
same([str(parent["id"]) for parent in revision["parents"]], ["swh:1:rev:" + id for id in git("log", "-1", "--format=%P", MERGE[-40:]).decode().split()])
same(revision["date"].isoformat(), git("log", "-1", "--format=%aI", MERGE[-40:]).decode().strip())
same(revision["author"]["name"], git("log", "-1", "--format=%an", MERGE[-40:]).decode().strip())
same(client.revision(MERGE), revision)

entries = {entry["name"]: entry for entry in client.directory(DIRECTORY)}
listed = git("ls-tree", "-z", DIRECTORY[-40:]).split(b"\0")[:-1]
same(len(entries), len(listed))
for line in listed:
    head, name = line.split(b"\t")
    mode, kind, id = head.decode().split()
    entry = entries[name.decode("utf-8", "backslashreplace")]
    same((int(entry["perms"]), str(entry["target"])[-40:]), (int(mode, 8), id))
    if kind == "blob":
        content = git("cat-file", "blob", id)
        same(entry["length"], len(content))
        same(entry["checksums"]["sha256"], hashlib.sha256(content).hexdigest())

release = client.get(RELEASE)
same((release["name"], str(release["target"])), ("v1.0", REVISION))

content = client.get(CONTENT)
same((content["length"], content["checksums"]["sha256"]), (6, hashlib.sha256(b"hello\n").hexdigest()))
same(content["checksums"]["blake2s256"], hashlib.blake2s(b"hello\n").hexdigest())
same(b"".join(client.content_raw(CONTENT)), b"hello\n")

# Snapshots, whose branches the client follows from page to page.
branches = {}
for page in client.snapshot(RIPGREP):
    branches.update(page)
same(len(branches), 8)
same(str(branches["refs/heads/master"]["target"]), "swh:1:rev:6cb604f38f3a7abecaa9cdb1a7eb9556aa9d9dcc")
same(branches["HEAD"]["target"], "refs/heads/master")
whole = client.get(SNAPSHOT)
same(set(whole) >= {"HEAD", "refs/heads/main", "refs/tags/v1.0"}, True)

# What is there and what is not.
swhids = [REVISION, DIRECTORY, RELEASE, SNAPSHOT, CONTENT, ABSENT]
known = client.known(swhids)
same({str(swhid): told["known"] for swhid, told in known.items()}, {swhid: swhid != ABSENT for swhid in swhids})
many = [CoreSWHID.from_string("swh:1:cnt:%040x" % n) for n in range(2500)]
same(any(told["known"] for told in client.known(many).values()), False)
for exists, id in [
    (client.revision_exists, REVISION),
    (client.directory_exists, DIRECTORY),
    (client.release_exists, RELEASE),
    (client.snapshot_exists, SNAPSHOT),
    (client.content_exists, CONTENT),
]:
    same(exists(id), True)
    absent(exists, id[:10] + ABSENT[10:])

# Origins.
origin = "https://github.com/BurntSushi/ripgrep"
same([visit["visit"] for visit in client.visits(origin, per_page=1)], [2, 1])
last = client.last_visit(origin)
same((last["visit"], str(last["snapshot"])), (2, RIPGREP))
same(client.origin_exists(origin), True)
absent(client.origin_exists, origin + "x")
same([found["url"] for found in client.origin_search("ripgrep")], [origin])
same(sorted(found["url"] for found in client.origin_search("https", limit=2)), sorted([origin, "https://example.org/odd.git"]))

# Bundles.
for kind, swhid in [("flat", DIRECTORY), ("git_bare", REVISION), ("gitfast", "swh:1:rev:2da712a14d1db5d35e80f5492ee87fac41b871c9")]:
    kind = kind.replace("_", "-") if kind == "git_bare" else kind
    asked = client.cooking_request(kind, swhid, email="me@example.org")
    same(asked["swhid"], swhid)
    deadline = time.monotonic() + 60
    while client.cooking_check(kind, swhid)["status"] != "done":
        if time.monotonic() > deadline:
            raise SystemExit(f"{swhid} is never done")
        time.sleep(0.05)
    bundle = client.cooking_fetch(kind, swhid)
    bundle.raise_for_status()
    same(len(bundle.content), int(bundle.headers["content-length"]))
    same(len(bundle.content) > 100, True)
print("the official client is content")
