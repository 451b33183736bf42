"""What the pytest plugin takes from markers and from the configuration, and the fixtures with other people's clients."""

from __future__ import annotations

import sys

import pytest

pytest_plugins = ["pytester"]

HEADER = (
    "import pytest\n"
    "from trio_spool.client import open_client\n"
    "import trio\n"
    "\n"
    "def ask(server, what, bucket=None):\n"
    "    async def main():\n"
    "        async with open_client(server.host, server.port, bucket=bucket) as client:\n"
    "            return await what(client)\n"
    "    return trio.run(main)\n"
    "\n"
    "async def settings(client):\n"
    "    async with client.stat(b'settings') as rows:\n"
    "        return {name: value async for name, value in rows}\n"
    "\n"
)


@pytest.fixture
def run_tests(pytester: pytest.Pytester):
    """Run a file of tests in a directory of its own, and return what pytest prints."""

    def run(tests: str, ini: str = "", *options: str) -> str:
        pytester.makeini(f"[pytest]\n{ini}")
        pytester.makepyfile(test_it=HEADER + tests)
        result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--strict-markers", "--import-mode=importlib", *options)
        return str(result.stdout) + str(result.stderr)

    return run


TESTS_OF_MARKERS = """
@pytest.mark.trio_spool(vbuckets=8, buckets=["outer"], collections=[])
class TestIt:
    @pytest.mark.trio_spool(vbuckets=16)
    def test_both(self, trio_spool_server):
        got = ask(trio_spool_server, settings)
        assert (got[b"vbuckets"], got[b"item_size_max"]) == (b"16", b"70000")
        assert trio_spool_server.buckets == ("outer",)
        assert ask(trio_spool_server, lambda client: client.list_buckets()) == ["default", "outer"]

    def test_outer(self, trio_spool_server):
        assert ask(trio_spool_server, settings)[b"vbuckets"] == b"8"

def test_configured(trio_spool_server):
    assert ask(trio_spool_server, settings)[b"vbuckets"] == b"4"
    assert ask(trio_spool_server, lambda client: client.list_buckets()) == ["default", "inner"]
    (collection,) = trio_spool_server.collections
    assert (collection.bucket, collection.scope, collection.name) == ("inner", "shop", "orders")
    assert ask(trio_spool_server, lambda client: client.collection_id("shop.orders"), "inner") >= 8
"""


def test_markers_and_options(run_tests) -> None:
    """The marker that is nearest to a test holds, and what it does not say comes from the others and from the configuration."""
    output = run_tests(
        TESTS_OF_MARKERS,
        "trio_spool_buckets = inner\n"
        "trio_spool_collections = inner:shop.orders\n"
        "trio_spool_settings =\n    vbuckets = 4\n    max-item-size = 70_000\n    disable_flush = true\n    fsync = no\n",
    )
    assert "3 passed" in output, output


def test_users_of_a_marker(run_tests) -> None:
    output = run_tests(
        "from trio_spool.client import AccessError, AuthenticationError\n"
        "USERS = {'bob': ('pencil', 'read', 'orders:write'), 'ada': 'secret'}\n"
        "pytestmark = pytest.mark.trio_spool(users=USERS, buckets=['orders'], collections=['shop.items'])\n"
        "\n"
        "def test_it(trio_spool_server):\n"
        "    server = trio_spool_server\n"
        "    assert (server.username, server.password, server.users) == ('ada', 'secret', True)\n"
        "    async def main():\n"
        "        async with open_client(server.host, server.port, username='ada', password='secret') as client:\n"
        "            await client.set(b'k', b'v')\n"
        "        async with open_client(server.host, server.port, username='bob', password='pencil') as client:\n"
        "            assert (await client.get(b'k')).value == b'v'\n"
        "            with pytest.raises(AccessError):\n"
        "                await client.set(b'k', b'v')\n"
        "            await client.select_bucket('orders')\n"
        "            await client.set(b'k', b'v')\n"
        "        with pytest.raises(AuthenticationError):\n"
        "            async with open_client(server.host, server.port, username='bob', password='secret'):\n"
        "                pass\n"
        "    trio.run(main)\n",
    )
    assert "1 passed" in output, output


@pytest.mark.parametrize("scope", ["module", "session"])
def test_a_scope_in_which_tests_share_a_server(run_tests, scope: str) -> None:
    output = run_tests(
        "@pytest.mark.parametrize('number', range(3))\n"
        "def test_shared(trio_spool_server, number):\n"
        "    assert ask(trio_spool_server, lambda client: client.increment(b'n', initial=0)) == number\n",
        f"trio_spool_scope = {scope}\n",
    )
    assert "3 passed" in output, output


def test_the_server_of_the_session_is_beside_those_of_the_tests(run_tests) -> None:
    output = run_tests(
        "@pytest.mark.parametrize('number', range(3))\n"
        "def test_shared(trio_spool_session_server, trio_spool_server, number):\n"
        "    assert ask(trio_spool_session_server, lambda client: client.increment(b'n', initial=0)) == number\n"
        "    assert ask(trio_spool_server, lambda client: client.increment(b'n', initial=0)) == 0\n",
    )
    assert "3 passed" in output, output


@pytest.mark.parametrize(
    ("tests", "ini", "message"),
    [
        ("def test(trio_spool_server): pass\n", "trio_spool_scope = tests\n", "trio_spool_scope must be one of function, class,"),
        ("def test(trio_spool_server): pass\n", "trio_spool_settings = vbuckets 4\n", "lines such as vbuckets = 64; got 'vbuckets 4'"),
        ("def test(trio_spool_server): pass\n", "trio_spool_settings = vbuckets = many\n", "vbuckets must be a whole number"),
        ("def test(trio_spool_server): pass\n", "trio_spool_settings = colour = blue\n", "colour"),
        ("def test(trio_spool_server): pass\n", "trio_spool_collections = orders\n", "such as 'shop.orders'; got 'orders'"),
        (
            "@pytest.mark.trio_spool(64)\ndef test(trio_spool_server): pass\n",
            "",
            "the marker trio_spool takes settings by their names, such as @pytest.mark.trio_spool(vbuckets=64); got 64",
        ),
        (
            "@pytest.mark.trio_spool(vbuckets=4)\ndef test(trio_spool_server): pass\n",
            "trio_spool_scope = module\n",
            "test_it.py::test has the marker trio_spool, but shares its server with others, since trio_spool_scope is module",
        ),
        (
            "pytestmark = pytest.mark.trio_spool(vbuckets=4)\ndef test(trio_spool_server): pass\n",
            "trio_spool_scope = session\n",
            "test_it.py has the marker trio_spool, but shares",
        ),
        ("def test(memcached_client): pass\n", "trio_spool_memcached_client = telnet\n", "must be one of pymemcache, bmemcached, pylibmc"),
    ],
)  # fmt: skip
def test_what_cannot_be(run_tests, tests: str, ini: str, message: str) -> None:
    output = run_tests(tests, ini)
    assert message in output, output
    assert " passed" not in output
    assert "INTERNALERROR" not in output, output


def test_workers_say_what_cannot_be(run_tests) -> None:
    marked = "@pytest.mark.trio_spool(vbuckets=4)\ndef test(trio_spool_server): pass\n"
    output = run_tests(marked, "trio_spool_scope = module\naddopts = -n 1\n")
    assert "test_it.py::test has the marker trio_spool, but shares its server" in output, output
    assert "INTERNALERROR" not in output, output


def test_a_marker_on_what_shares_a_server_holds(run_tests) -> None:
    output = run_tests(
        "@pytest.mark.trio_spool(vbuckets=4)\n"
        "class TestIt:\n"
        "    def test(self, trio_spool_server):\n"
        "        assert ask(trio_spool_server, settings)[b'vbuckets'] == b'4'\n"
        "\n"
        "def test_other(trio_spool_server):\n"
        "    assert ask(trio_spool_server, settings)[b'vbuckets'] == b'1'\n",
        "trio_spool_scope = class\n",
    )
    assert "2 passed" in output, output


def test_a_client_for_memcached(run_tests) -> None:
    output = run_tests(
        "def test_plain(memcached_client):\n"
        "    memcached_client.set('k', 'v')\n"
        "    assert memcached_client.get('k') == 'v'\n"
        "\n"
        "@pytest.mark.trio_spool(users={'ada': 'secret'})\n"
        "def test_login(memcached_client):\n"
        "    assert memcached_client.set('k', 'v')\n"
        "    assert memcached_client.get('k') == 'v'\n",
        "trio_spool_memcached_client = bmemcached\n",
    )
    assert "2 passed" in output, output


@pytest.mark.parametrize(
    ("fixture", "missing", "message"),
    [
        ("couchbase_collection", ["couchbase"], "needs Couchbase's SDK: pip install couchbase"),
        (
            "memcached_client",
            ["pymemcache", "bmemcached", "pylibmc"],
            "pip install pymemcache or python-binary-memcached or pylibmc",
        ),
    ],
)
def test_a_client_that_is_not_installed(run_tests, pytester, fixture: str, missing: list[str], message: str) -> None:
    for name in missing:  # each a module that can't be imported, before the one that is installed
        pytester.makepyfile(**{name: "raise ImportError('hidden')"})
    script = "import sys, pytest; sys.path.insert(0, ''); pytest.main(['-p', 'no:cacheprovider', 'test_it.py'])"
    pytester.makepyfile(test_it=HEADER + f"def test({fixture}): pass\n")
    output = str(pytester.run(sys.executable, "-c", script).stdout)
    assert message in output and "1 error" in output, output
