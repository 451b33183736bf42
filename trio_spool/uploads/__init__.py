"""Uploads: what async code receives, as a file that blocking code reads in a worker thread, on Trio and on asyncio.

This is the other direction of a spool. `consume` runs a function that reads; `SpoolReader` is the file it reads, for code that
feeds it by itself.
"""

from ._consuming import consume as consume
from ._reader import WINDOW as WINDOW
from ._reader import SpoolReader as SpoolReader

__all__ = ["SpoolReader", "consume"]
