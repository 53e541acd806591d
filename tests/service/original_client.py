"""Goes through the calls of the original client; prints what it saw as JSON.

Run by test_original_client.py with an interpreter of its own.
"""

import json
import os
import sys
from importlib.metadata import version

import requests

import pygobbler as pyg

url, staging, registry, work = sys.argv[1:]
at = {"registry": registry, "url": url}
to = {"staging": staging, "url": url}
seen = {"version": version("pygobbler"), "info": pyg.service_info(url)}
project = "original-client"


def both(call, *args, **more):
    cache = {"cache": os.path.join(work, "cache")} if more.pop("cached", False) else {}
    return {
        "local": call(*args, **at, **more),
        "remote": call(*args, **at, force_remote=True, **cache, **more),
    }


def tree(path):
    found = {}
    for root, _, names in os.walk(path):
        for name in names:
            where = os.path.join(root, name)
            with open(where, "rb") as handle:
                found[os.path.relpath(where, path)] = len(handle.read())
    return found


source = os.path.join(work, "source")
os.makedirs(os.path.join(source, "d"))
os.makedirs(os.path.join(source, "e"))
with open(os.path.join(source, "a.txt"), "w") as handle:
    handle.write("abc")
with open(os.path.join(source, "d", "b.bin"), "wb") as handle:
    handle.write(bytes(70_000))

pyg.create_project(project, **to)
pyg.upload_directory(project, "first", "1", source, **to)
pyg.upload_directory(project, "first", "2", source, concurrent=2, **to)
try:
    pyg.upload_directory(project, "first", "2", source, **to)
except requests.HTTPError as error:
    seen["refusal"] = str(error)

clone = os.path.join(work, "clone")
pyg.clone_version(project, "first", "1", clone, registry=registry)
with open(os.path.join(clone, "new.txt"), "w") as handle:
    handle.write("new")
pyg.upload_directory(project, "linked", "1", clone, **to)
seen["linked"] = pyg.fetch_manifest(project, "linked", "1", **at)
seen["second"] = pyg.fetch_manifest(project, "first", "2", **at)

pyg.upload_directory(project, "probed", "1", source, probation=True, **to)


def probation():
    summary = pyg.fetch_summary(project, "probed", "1", **at)
    return [summary.get("on_probation", False), pyg.fetch_latest(project, "probed", **at)]


seen["probation"] = {"before": probation()}
pyg.approve_probation(project, "probed", "1", **to)
seen["probation"]["after"] = probation()

seen["projects"] = both(pyg.list_projects)
seen["assets"] = both(pyg.list_assets, project)
seen["versions"] = both(pyg.list_versions, project, "first")
seen["files"] = both(pyg.list_files, project, "first", "1")
seen["manifest"] = both(pyg.fetch_manifest, project, "first", "1", cached=True)
seen["summary"] = both(pyg.fetch_summary, project, "first", "1", cached=True)
seen["latest"] = both(pyg.fetch_latest, project, "first")
seen["permissions"] = both(pyg.fetch_permissions, project)

files = both(pyg.fetch_file, f"{project}/first/2/d/b.bin", cached=True)
seen["file"] = {where: os.path.getsize(path) for where, path in files.items()}
directories = both(pyg.fetch_directory, f"{project}/first/2", concurrent=2, cached=True)
seen["directory"] = {where: tree(path) for where, path in directories.items()}

uploaders = [{"id": "alan", "trusted": True}]
pyg.set_permissions(project, owners=["ada"], uploaders=uploaders, **at, staging=staging)
seen["set_permissions"] = pyg.fetch_permissions(project, **at)

pyg.remove_asset(project, "probed", **to)
pyg.remove_asset(project, "linked", **to)
seen["usage"] = both(pyg.fetch_usage, project)
pyg.reindex_version(project, "first", "2", **to)
doomed = [{"project": project, "asset": "first", "version": "1"}]
seen["reroute"] = {"dry": pyg.reroute_links(doomed, dry_run=True, **to)}
seen["reroute"]["done"] = pyg.reroute_links(doomed, **to)
pyg.remove_version(project, "first", "1", **to)
pyg.validate_version(project, "first", "2", **to)
seen["validated"] = "fine"
seen["removed"] = {"versions": pyg.list_versions(project, "first", **at)}
assert pyg.refresh_latest(project, "first", **to) == "2"
assert pyg.refresh_usage(project, **to) == 70_003
pyg.remove_project(project, **to)
seen["removed"]["projects"] = project in pyg.list_projects(**at)

print(json.dumps(seen))
