"""The errors of statistics."""

from __future__ import annotations

from ..settings import ServiceError


class StatisticsError(ServiceError):
    """The base of the errors of statistics."""


class NoGroupError(StatisticsError):
    """No group of statistics has this name, or it does not take this argument."""


class NoKeyError(NoGroupError):
    """The item that the statistics are about does not exist."""


class NotForUserError(StatisticsError):
    """The group shows more than the user may see."""
