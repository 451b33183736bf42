"""Two servers on one data directory: the second one says who has it, in one line, and ends."""

from __future__ import annotations

import subprocess

from support.process import command


def test_the_second_one_is_refused(start, tmp_path) -> None:
    data_dir = tmp_path / "data"
    with start(str(data_dir), "--listen", "tcp://127.0.0.1:0", "--fsync", "no") as first:
        second = subprocess.run(
            command("serve", data_dir, "--listen", "tcp://127.0.0.1:0"), capture_output=True, text=True, timeout=60
        )
        assert (second.returncode, second.stdout) == (1, "")
        holder = f"process {first.popen.pid}"
        assert second.stderr == f"Error: {data_dir} is in use by {holder}; stop that one, or name another data directory\n"
