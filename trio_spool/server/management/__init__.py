"""Couchbase's management requests, by HTTP: what SDKs, and frameworks on them, ask about buckets, scopes and collections.

Who may ask for what is the same as in the binary protocol, and so is what happens then. There is no other service of Couchbase
here, and none is feigned: a query that was answered with nothing would lose data in silence. `_absent` has what is said instead.
"""

from ._companion import manage as manage
from ._routes import ROUTES as ROUTES
