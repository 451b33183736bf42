"""The engine ``lmdb``, which is durable: one LMDB environment in a data directory.

Importing this package does not import LMDB: what `trio_spool.engine` says about data directories and copies needs none.
`_engine` does.
"""
