"""What a service shows to who watches it: metrics for Prometheus, and whether it is healthy and ready, by HTTP."""

from ._pages import serve_metrics as serve_metrics
from ._table import EXPOSED as EXPOSED
from ._table import LIBRARY as LIBRARY
from ._table import Metric as Metric
from ._table import Type as Type
