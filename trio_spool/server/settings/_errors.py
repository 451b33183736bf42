"""The base of what goes wrong with a service, and what is wrong with its settings."""

from __future__ import annotations


class ServiceError(Exception):
    """The base of the errors of a service. The message is for people: what was wrong, with what value, and what to do."""


class SettingsError(ServiceError, ValueError):
    """A setting can't be used. The message says which, its value, and what to do."""
