"""The protocols that are spoken: guests of a connection, each in a folder of its own."""

from ._detect import detect as detect
from ._detect import detecting as detecting
from ._detect import refuse_first as refuse_first
