"""A client of its own that runs transactions, for tests that kill it: python transacting.py ADDRESS MODE [ARGUMENT...].

It prints "ready" once it is connected, and the number of transactions that it has committed at the end.
"""

from __future__ import annotations

import random
import sys
import time
import warnings
from datetime import timedelta
from typing import Any

from couchbase.auth import PasswordAuthenticator
from couchbase.cluster import Cluster
from couchbase.durability import DurabilityLevel, ServerDurability
from couchbase.options import ClusterOptions, TransactionConfig
from couchbase.transactions import TransactionKeyspace

PATIENT = timedelta(seconds=20)
# Seconds after which an attempt has expired: as few as leave a slow machine enough.
EXPIRY = 2.0


def connect(address: str, *, expiry: float = EXPIRY, cleaning: float | None = None) -> Cluster:
    """Connect, with a cleanup of lost attempts, so many seconds a round, if asked for."""
    cleaner = (
        {}
        if cleaning is None
        else {"metadata_collection": TransactionKeyspace(bucket="default", scope="_default", collection="_default")}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls the new name of the time limit deprecated as well as the old one
        config = TransactionConfig(
            durability=ServerDurability(DurabilityLevel.NONE),
            timeout=timedelta(seconds=expiry),
            cleanup_lost_attempts=cleaning is not None,
            cleanup_window=timedelta(seconds=cleaning or 60),
            **cleaner,
        )
    options = ClusterOptions(PasswordAuthenticator("anybody", "anything"), transaction_config=config)
    cluster = Cluster(f"couchbase://{address}", options)
    cluster.wait_until_ready(PATIENT)
    cluster.transactions  # begins the cleanup
    return cluster


def transfer(cluster: Cluster, accounts: int, seconds: float, seed: int) -> int:
    """Move money between accounts for so many seconds, and return how many transfers were committed."""
    rng = random.Random(seed)
    collection = cluster.bucket("default").default_collection()
    done = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        source, target = rng.sample(range(accounts), 2)

        def move(context: Any, source: int = source, target: int = target) -> None:
            giving, taking = (context.get(collection, f"account-{number}") for number in (source, target))
            amount = min(rng.randrange(10), giving.content_as[dict]["money"])
            context.replace(giving, {"money": giving.content_as[dict]["money"] - amount})
            context.replace(taking, {"money": taking.content_as[dict]["money"] + amount})

        try:
            cluster.transactions.run(move)
        except Exception as error:  # it gave up after EXPIRY seconds of conflicts
            print(type(error).__name__, file=sys.stderr)
        else:
            done += 1
    return done


def change(cluster: Cluster, suffix: str) -> int:
    """Insert, replace and remove a document each, and more in another collection."""
    bucket = cluster.bucket("default")

    def work(context: Any) -> None:
        for collection in (bucket.default_collection(), bucket.scope("shop").collection("orders")):
            context.insert(collection, f"inserted-{suffix}", {"made": suffix})
            context.replace(context.get(collection, f"replaced-{suffix}"), {"made": suffix})
            context.remove(context.get(collection, f"removed-{suffix}"))

    cluster.transactions.run(work)
    return 1


if __name__ == "__main__":
    address, mode, *arguments = sys.argv[1:]
    connected = connect(address)
    print("ready", flush=True)
    if mode == "transfer":
        print(transfer(connected, int(arguments[0]), float(arguments[1]), int(arguments[2])), flush=True)
    else:
        print(change(connected, arguments[0]), flush=True)
    connected.close()
