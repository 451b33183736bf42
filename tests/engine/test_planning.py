"""Operations that are worked out before the transaction: what they store, and when they are not carried out."""

from __future__ import annotations

import json

import google_crc32c
import pytest

from trio_spool.engine import Concat, Delete, Edit, Get, Item, Lock, Problem, Step, StepKind, Store, Touch, plan_in_thread

K = StepKind
LARGE = b'{"pad":"%b","n":1}' % (b"x" * 100)
SET_M = Step(K.UPSERT, b"m", b"2", create=True)


def item_of(engine) -> Item | None:
    return engine.execute([Get(b"k")])[0].item


def edit(*steps: Step, **options) -> Edit:
    return Edit(b"k", steps, datatype=1, inline=50, **options)


def planned(engine, operation):
    return plan_in_thread(operation, item_of(engine))


def test_what_is_large_is_not_edited_in_the_transaction(engine) -> None:
    engine.execute([Store(b"k", LARGE)])
    for operation in (edit(SET_M), Concat(b"k", b"x", datatype=1, inline=50)):
        assert engine.execute([operation])[0].problem is Problem.UNPLANNED
        assert item_of(engine).value == LARGE
    assert engine.execute([Edit(b"new", (Step(K.UPSERT, b"a", LARGE),), create=True, inline=50)])[0].problem is Problem.UNPLANNED


def test_a_plan_is_carried_out(engine) -> None:
    engine.execute([Store(b"k", LARGE, 7, 5000)])
    (outcome,) = engine.execute([planned(engine, edit(SET_M, Step(K.COUNTER, b"n", b"4")))])
    assert (outcome.problem, [result.value for result in outcome.results]) == (None, [b"", b"5"])
    assert item_of(engine) == Item(LARGE[:-2] + b'5,"m":2}', 7, 5000, 1, outcome.cas, outcome.seqno)


@pytest.mark.parametrize("change", [Touch(b"k", 6000), Store(b"k", LARGE, 8)], ids=["touch", "same value"])
def test_a_plan_holds_while_the_value_is_the_same(engine, change) -> None:
    engine.execute([Store(b"k", LARGE, 7, 5000)])
    plan = planned(engine, edit(SET_M))
    engine.execute([change])
    before = item_of(engine)
    (outcome,) = engine.execute([plan])
    assert outcome.problem is None
    assert item_of(engine) == before._replace(value=LARGE[:-1] + b',"m":2}', datatype=1, cas=outcome.cas, seqno=outcome.seqno)


@pytest.mark.parametrize(
    "change",
    [
        Store(b"k", LARGE.replace(b"1", b"2")), Delete(b"k"), Edit(b"k", (Step(K.UPSERT, b"x", b"1", xattr=True),)),
        Concat(b"k", b" "),
    ],
    ids=["stored", "deleted", "attribute", "appended"],
)  # fmt: skip
def test_a_plan_for_an_item_that_has_changed_does_nothing(engine, change) -> None:
    engine.execute([Store(b"k", LARGE)])
    plans = [planned(engine, edit(SET_M)), planned(engine, Concat(b"k", b" "))]
    engine.execute([change])
    before = item_of(engine)
    assert [outcome.problem for outcome in engine.execute(plans)] == [Problem.CHANGED] * 2
    assert item_of(engine) == before


def test_a_plan_for_a_missing_item(engine) -> None:
    operation = edit(SET_M, create=True, new_expiry=9000)
    plan = planned(engine, operation)
    engine.execute([Store(b"k", b"{}")])
    assert engine.execute([plan])[0].problem is Problem.CHANGED
    engine.execute([Delete(b"k")])
    assert engine.execute([plan])[0].problem is None
    assert item_of(engine)[:4] == (b'{"m":2}', 0, 9000, 1)


def test_conditions_are_those_of_the_operation(engine) -> None:
    """A lock is not passed by a plan, which knows the item's CAS, and neither is a CAS."""
    (stored,) = engine.execute([Store(b"k", LARGE)])
    plain, right, wrong = (planned(engine, edit(SET_M, cas=cas)) for cas in (0, stored.cas, 5))
    (locked,) = engine.execute([Lock(b"k", 30)])
    assert [outcome.problem for outcome in engine.execute([plain, right, wrong])] == [Problem.LOCKED] * 3
    key_of_lock = planned(engine, edit(SET_M, cas=locked.cas))
    assert engine.execute([key_of_lock])[0].problem is None
    assert engine.execute([wrong])[0].problem is Problem.EXISTS
    assert engine.execute([planned(engine, edit(SET_M, add=True))])[0].problem is Problem.EXISTS


def test_failures_are_planned_as_well(engine) -> None:
    engine.execute([Store(b"k", LARGE)])
    (outcome,) = engine.execute([planned(engine, edit(SET_M, Step(K.REPLACE, b"none", b"1")))])
    assert (outcome.problem, len(outcome.results)) == (Problem.PATH, 2)
    assert item_of(engine).value == LARGE
    assert engine.execute([planned(engine, edit(Step(K.REMOVE_DOCUMENT)))])[0].problem is None
    assert item_of(engine) is None
    assert engine.execute([planned(engine, edit(SET_M))])[0].problem is Problem.NOT_FOUND


def test_macros_in_a_plan(engine) -> None:
    engine.execute([Store(b"k", LARGE)])
    steps = [
        Step(K.UPSERT, b"x." + name, b'"${Mutation.%b}"' % macro, create=True, xattr=True, macros=True)
        for name, macro in ((b"cas", b"CAS"), (b"seqno", b"seqno"), (b"crc", b"value_crc32c"))
    ]
    plan = planned(engine, edit(*steps, SET_M))
    engine.execute([Touch(b"k", 6000)])
    (outcome,) = engine.execute([plan])
    item = item_of(engine)
    assert json.loads(item.xattrs)["x"] == {
        "cas": f"0x{outcome.cas.to_bytes(8, 'little').hex()}",
        "seqno": f"0x{outcome.seqno:016x}",
        "crc": f"0x{google_crc32c.value(item.value):08x}",
    }


def test_a_plan_that_depends_on_the_version_of_the_item(engine) -> None:
    engine.execute([Store(b"k", LARGE)])
    step = Step(K.UPSERT, b"old", b'"${$document.CAS}"', xattr=True, macros=True)
    plan = planned(engine, edit(step, virtual=lambda item: {b"$document": lambda: b'{"CAS":"%d"}' % item.cas}))
    engine.execute([Touch(b"k", 6000)])
    assert engine.execute([plan])[0].problem is Problem.CHANGED


@pytest.mark.parametrize(
    "old, value, prepend, datatype",
    [(b"1", b"2", False, 1), (b"1", b"x", False, 0), (b"[1", b"]", False, 1), (b"1]", b"[", True, 1), (b"{}", b"{}", False, 0)],
)
def test_the_datatype_of_what_is_appended_to(engine, old: bytes, value: bytes, prepend: bool, datatype: int) -> None:
    operation = Concat(b"k", value, prepend, datatype=1)
    for plans in (False, True):
        engine.execute([Store(b"k", old, datatype=1)])
        engine.execute([planned(engine, operation) if plans else operation])
        assert item_of(engine)[:4] == (value + old if prepend else old + value, 0, 0, datatype)
    engine.execute([Store(b"k", old, datatype=1), Concat(b"k", value, prepend)])
    assert item_of(engine).datatype == 0  # nobody looked
