"""Producers: blocking code that runs in worker threads, is paused, stopped and closed there."""

from ._block import SpoolBlock as SpoolBlock
from ._driving import close_apart as close_apart
from ._driving import drive as drive
from ._producer import Fragment as Fragment
from ._producer import Producer as Producer
from ._producer import prepare as prepare
from ._turns import Turns as Turns
from ._turns import refuse_own_producer as refuse_own_producer
from ._writer import SpoolWriter as SpoolWriter
