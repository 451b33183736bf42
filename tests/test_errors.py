"""Every package's errors are one family: whoever catches the base catches them all."""

from __future__ import annotations

import importlib

import pytest

BASES = {
    "trio_spool._core": "SpoolError",
    "trio_spool.auth": "AuthError",
    "trio_spool.client": "ClientError",
    "trio_spool.engine": "EngineError",
    "trio_spool.mcbp": "ProtocolError",
}


@pytest.mark.parametrize("package", BASES)
def test_one_base_for_each_package(package: str) -> None:
    exported = vars(importlib.import_module(package))
    defined = vars(importlib.import_module(f"{package}._errors"))
    base = exported[BASES[package]]
    errors = {
        name: value for name, value in {**exported, **defined}.items() if isinstance(value, type) and issubclass(value, Exception)
    }
    assert all(issubclass(error, base) for error in errors.values())
    assert set(errors) <= set(exported)
