"""The names of what a backup of several buckets has beside the files of the default bucket: a list of them, and their directory."""

from __future__ import annotations

from typing import Final

BACKUP_LIST: Final = "buckets.json"
# As in a data directory.
BACKUP_BUCKETS: Final = "buckets"
