"""A bucket whose deletion is cut off by the end of the process: it is gone at the next start, and so is all that it left."""

from __future__ import annotations

import os

import pytest
import trio

from support.service import Raw
from trio_spool.mcbp import Opcode

# Ends the process as it is about to remove the directory of a bucket, as a crash at that moment would.
CRASH = """
import os, sys

def hook(event, arguments):
    if event == "shutil.rmtree" and "buckets" in str(arguments[0]):
        os._exit(77)

sys.addaudithook(hook)
"""


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """Python imports `sitecustomize` as it starts."""
    directory = tmp_path / "site"
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(CRASH)
    return {"PYTHONPATH": os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")])}


async def delete_and_crash(port: int) -> None:
    """Make two buckets, each with an item, and delete one of them."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        raw = Raw(stream)
        for name in (b"stays", b"goes"):
            assert (await raw.call(Opcode.CREATE_BUCKET, key=name)).status == 0
            assert (await raw.call(Opcode.SELECT_BUCKET, key=name)).status == 0
            assert (await raw.call(Opcode.SET, key=b"k", value=name, extras=bytes(8))).status == 0
        assert (await raw.call(Opcode.SELECT_BUCKET, key=b"stays")).status == 0
        await raw.send(raw.plain_frame(Opcode.DELETE_BUCKET, key=b"goes"))
        assert await raw.closed()


async def test_it_is_not_opened_again(run_service, start, environment, tmp_path) -> None:
    data_dir = tmp_path / "data"
    with start(str(data_dir), "--listen", "tcp://127.0.0.1:0", "--fsync", "no", env=environment) as process:
        await delete_and_crash(process.port)
        assert process.popen.wait(20) == 77
    options = {"engine": "lmdb", "data_dir": data_dir, "fsync": "no"}
    async with run_service(**options) as service, service.connect() as raw:
        assert (await raw.call(Opcode.LIST_BUCKETS)).value == b"default stays"
        assert [path.name for path in (data_dir / "buckets").iterdir()] == ["stays"]
        # One of its name can be made, and is another one.
        assert (await raw.call(Opcode.CREATE_BUCKET, key=b"goes")).status == 0
        for name, value in ((b"goes", b""), (b"stays", b"stays")):
            assert (await raw.call(Opcode.SELECT_BUCKET, key=name)).status == 0
            assert (await raw.call(Opcode.GET, key=b"k")).value.removeprefix(b"Not found") == value
        assert (await raw.call(Opcode.DELETE_BUCKET, key=b"goes")).status == 0
        assert [path.name for path in (data_dir / "buckets").iterdir()] == ["stays"]


async def test_what_is_not_removed_is_not_opened(run_service, tmp_path) -> None:
    """The remains of a deleted bucket are whole, as if the process had ended right after they got their name."""
    data_dir = tmp_path / "data"
    options = {"engine": "lmdb", "data_dir": data_dir, "fsync": "no"}
    async with run_service(**options) as service, service.connect() as raw:
        for name in (b"one", b"two"):
            assert (await raw.call(Opcode.CREATE_BUCKET, key=name)).status == 0
    (data_dir / "buckets" / "one").rename(data_dir / "buckets" / ".deleted-0123456789abcdef")
    (data_dir / "buckets" / "two").rename(data_dir / "buckets" / ".deleted-x")
    async with run_service(**options) as service, service.connect() as raw:
        assert (await raw.call(Opcode.LIST_BUCKETS)).value == b"default"
        assert (await raw.call(Opcode.SELECT_BUCKET, key=b".deleted-x")).status
        assert list((data_dir / "buckets").iterdir()) == []
