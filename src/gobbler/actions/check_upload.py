"""``check_upload``: may the user upload this version? Asked before anything is copied."""

from __future__ import annotations

from gobbler.actions.context import RequestContext
from gobbler.actions.upload import authorise
from gobbler.model.names import VersionKey
from gobbler.model.requests import CheckUpload


def check_upload(context: RequestContext, request: CheckUpload) -> dict[str, object]:
    """Answer whether the upload would be trusted, or raise what :func:`authorise` raises.

    Changes nothing, and promises nothing: the upload itself checks again.
    """
    right = authorise(context, VersionKey.checked(request.project, request.asset, request.version))
    return {"trusted": right.trusted}
