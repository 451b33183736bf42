"""A folder as a tar.gz file, made while it is sent: ``FOLDER=. uvicorn tar_folder:app``."""

import os
import tarfile

from trio_spool import SpoolWriter
from trio_spool.asgi import StreamResponse


def archive(out: SpoolWriter) -> None:
    """Write the folder as a stream: mode ``w|gz`` seeks nowhere."""
    with tarfile.open(fileobj=out, mode="w|gz") as file:
        file.add(os.environ["FOLDER"], arcname="folder")


async def app(scope, receive, send):
    """Answer each request with the folder, as a download."""
    headers = {"content-disposition": 'attachment; filename="folder.tar.gz"'}
    await StreamResponse(archive, content_type="application/gzip", headers=headers)(scope, receive, send)
