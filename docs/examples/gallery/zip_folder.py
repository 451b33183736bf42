"""A folder as a zip file, made while it is sent: ``FOLDER=. uvicorn zip_folder:app``."""

import os
import zipfile
from pathlib import Path

from trio_spool import SpoolWriter
from trio_spool.asgi import StreamResponse


def archive(out: SpoolWriter) -> None:
    """Compress each file of the folder."""
    folder = Path(os.environ["FOLDER"])
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder))


async def app(scope, receive, send):
    """Answer each request with the folder, as a download."""
    headers = {"content-disposition": 'attachment; filename="folder.zip"'}
    await StreamResponse(archive, content_type="application/zip", headers=headers)(scope, receive, send)
