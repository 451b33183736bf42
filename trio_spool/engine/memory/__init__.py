"""The engine ``memory``, which keeps nothing: for tests, caches and examples."""

from ._engine import MemoryEngine as MemoryEngine
