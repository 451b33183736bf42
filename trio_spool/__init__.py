"""Stream what blocking code produces."""
from ._core import SpoolLimits as SpoolLimits
from ._core import open_spool as open_spool
