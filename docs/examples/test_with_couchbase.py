"""Test code that talks to Couchbase: ``pytest test_with_couchbase.py``."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from couchbase.auth import PasswordAuthenticator
from couchbase.cluster import Cluster
from couchbase.collection import Collection
from couchbase.exceptions import DocumentExistsException, DocumentNotFoundException
from couchbase.kv_range_scan import PrefixScan
from couchbase.options import ClusterOptions

from trio_spool.testing import Server

# The code to test.


class UserRepository:
    """Users, each of them a JSON document."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def add(self, name: str, email: str) -> None:
        """Add a user.

        Raises:
            ValueError: The name is taken.
        """
        try:
            self._collection.insert(f"user:{name}", {"name": name, "email": email})
        except DocumentExistsException:
            raise ValueError(f"the name {name!r} is taken") from None

    def email_of(self, name: str) -> str | None:
        """Return a user's address, or None if no user has this name."""
        try:
            return self._collection.get(f"user:{name}").content_as[dict]["email"]
        except DocumentNotFoundException:
            return None

    def names(self) -> list[str]:
        """Return the names of all users."""
        return [found.id.removeprefix("user:") for found in self._collection.scan(PrefixScan("user:"))]


# Its tests.


@pytest.fixture
def users(trio_spool_server: Server) -> Iterator[UserRepository]:
    """A repository on a server that was started for this test and is empty."""
    login = PasswordAuthenticator(trio_spool_server.username, trio_spool_server.password)
    cluster = Cluster(trio_spool_server.couchbase_connection_string, ClusterOptions(login))
    cluster.wait_until_ready(timedelta(seconds=10))
    yield UserRepository(cluster.bucket(trio_spool_server.bucket).default_collection())
    cluster.close()


def test_a_user_is_found_again(users: UserRepository) -> None:
    """A user that was added is found, and no other is."""
    users.add("ada", "ada@example.com")
    assert users.email_of("ada") == "ada@example.com"
    assert users.email_of("grace") is None


def test_names_are_unique(users: UserRepository) -> None:
    """A name can be taken once. The other test's users are not on this server."""
    assert users.email_of("ada") is None
    users.add("ada", "ada@example.com")
    with pytest.raises(ValueError, match="taken"):
        users.add("ada", "lovelace@example.com")
    assert users.email_of("ada") == "ada@example.com"


def test_all_users_are_listed(users: UserRepository) -> None:
    """A scan finds them in the order of their names."""
    for name in ("grace", "ada"):
        users.add(name, f"{name}@example.com")
    assert users.names() == ["ada", "grace"]
