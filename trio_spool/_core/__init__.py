from ._errors import SpoolBrokenError as SpoolBrokenError
from ._limits import SpoolLimits as SpoolLimits
from ._spool import open_spool as open_spool
