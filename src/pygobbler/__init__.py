"""One function per call to a Gobbler registry, without state.

::

    import pygobbler as pyg

    info = pyg.service_info(url)
    pyg.upload_directory("weather", "stations", "2026-11", "results/", info["staging"], url)
    pyg.version_path("weather", "stations", "2026-11", registry=info["registry"], url=url)

Each function is in a submodule of the same name. All of them call
:class:`gobbler.client.Client`, which is the better choice for new code. Their errors are those of
:mod:`gobbler.client.errors`: a failed request raises a ``requests.HTTPError`` whose text is the
reason of the service.
"""

from gobbler import __version__
from pygobbler.allocate_upload_directory import allocate_upload_directory
from pygobbler.approve_probation import approve_probation
from pygobbler.clone_version import clone_version
from pygobbler.create_project import create_project
from pygobbler.fetch_directory import fetch_directory
from pygobbler.fetch_file import fetch_file
from pygobbler.fetch_latest import fetch_latest
from pygobbler.fetch_manifest import fetch_manifest
from pygobbler.fetch_permissions import fetch_permissions
from pygobbler.fetch_summary import fetch_summary
from pygobbler.fetch_usage import fetch_usage
from pygobbler.list_assets import list_assets
from pygobbler.list_files import list_files
from pygobbler.list_projects import list_projects, list_registry_directories
from pygobbler.list_versions import list_versions
from pygobbler.refresh_latest import refresh_latest
from pygobbler.refresh_usage import refresh_usage
from pygobbler.reindex_version import reindex_version
from pygobbler.reject_probation import reject_probation
from pygobbler.remove_asset import remove_asset
from pygobbler.remove_project import remove_project
from pygobbler.remove_version import remove_version
from pygobbler.reroute_links import reroute_links
from pygobbler.service_info import service_info
from pygobbler.set_permissions import set_permissions
from pygobbler.start_gobbler import start_gobbler, stop_gobbler
from pygobbler.unpack_path import unpack_path
from pygobbler.upload_directory import upload_directory
from pygobbler.validate_version import validate_version
from pygobbler.version_path import version_path

__all__ = [
    "__version__",
    "start_gobbler",
    "stop_gobbler",
    "service_info",
    "create_project",
    "set_permissions",
    "remove_project",
    "remove_asset",
    "remove_version",
    "allocate_upload_directory",
    "upload_directory",
    "approve_probation",
    "reject_probation",
    "list_projects",
    "list_registry_directories",
    "list_assets",
    "list_versions",
    "list_files",
    "fetch_manifest",
    "fetch_summary",
    "fetch_latest",
    "fetch_permissions",
    "fetch_usage",
    "fetch_file",
    "fetch_directory",
    "version_path",
    "clone_version",
    "unpack_path",
    "refresh_latest",
    "refresh_usage",
    "reindex_version",
    "validate_version",
    "reroute_links",
]
