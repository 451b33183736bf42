"""Reading and editing JSON by path: examples, and everything against a model that works on parsed documents."""

from __future__ import annotations

import copy
import json
import random
import re

import hypothesis.strategies as st
import pytest
from hypothesis import assume, event, given

from support.documents import PIECES, edits, paths
from trio_spool.engine import PathError, PathProblem, is_json
from trio_spool.engine._json_document import Document
from trio_spool.engine._json_grammar import PIECE

P = PathProblem
DEEP = b"[" * 200_000 + b"]" * 200_000
BIG = 2**63

# The function, its arguments after the document, the document, and what it returns, or the problem.


def case(function, document, *arguments):
    *arguments, expected = arguments
    return pytest.param(function, document, arguments, expected, id=f"{function.__name__}-{document[:40]!r}-{arguments!r}"[:120])


DOC = b'{ "a" : 1.10, "b":{"c":[1E5 , {"d.e":"x"},[ ]], "":0},"a":2, "t`k" : {} } '

READING = [
    case(paths.get, DOC, b"a", b"1.10"),
    case(paths.get, DOC, b"", DOC),
    case(paths.get, b" 5 ", b"", b" 5 "),
    case(paths.get, DOC, b"b.c", b'[1E5 , {"d.e":"x"},[ ]]'),
    case(paths.get, DOC, b"b.c[0]", b"1E5"),
    case(paths.get, DOC, b"b.c[00]", b"1E5"),
    case(paths.get, DOC, b"b.c[-1]", b"[ ]"),
    case(paths.get, DOC, b"`b`.`c`[1].`d.e`", b'"x"'),
    case(paths.get, DOC, b"`t``k`", b"{}"),
    case(paths.get, DOC, b"t``k", b"{}"),
    case(paths.get, b"[[1,[2]]]", b"[0][1][0]", b"2"),
    case(paths.get, b'[{"a":1}]', b"[0].a", b"1"),
    case(paths.get, b'{"\\u00e9\\n":1}', "é\\n".encode(), b"1"),
    case(paths.get, '{"é":"ü\\u00fc"}'.encode(), "é".encode(), '"ü\\u00fc"'.encode()),
    case(paths.get, b'{"\\ud800":1,"b":2}', b"b", b"2"),
    case(paths.get, b'{"a":' + b"9" * 5000 + b',"b":1}', b"b", b"1"),
    case(paths.get, b'{"a":1,"b":tru', b"a", b"1"),
    case(paths.get, b'{"a":{"b":1,"c":nonsense', b"a.b", b"1"),
    case(paths.get, b'{"a":1}', b"b", P.NOT_FOUND),
    case(paths.get, b"{}", b"a.b[1]", P.NOT_FOUND),
    case(paths.get, b"[]", b"[0]", P.NOT_FOUND),
    case(paths.get, b"[]", b"[-1]", P.NOT_FOUND),
    case(paths.get, b"[1]", b"[1]", P.NOT_FOUND),
    case(paths.get, b"[1]", b"[" + b"9" * 1000 + b"]", P.NOT_FOUND),
    case(paths.get, b"[1]", b"a", P.MISMATCH),
    case(paths.get, b'{"0":1}', b"[0]", P.MISMATCH),
    case(paths.get, b'{"a":null}', b"a.b", P.MISMATCH),
    case(paths.get, b'"x"', b"[-1]", P.MISMATCH),
    *(
        case(paths.get, b"{}", path, P.INVALID)
        for path in [
            *[
                b"a..b",
                b".a",
                b"a.",
                b".",
                b"[0].",
                b"a.[0]",
                b"[0]a",
                b"a[",
                b"a]",
                b"a[0",
                b"[]",
                b"[x]",
                b"[-2]",
                b"[-0]",
                b"[+1]",
            ],
            *[
                b"[ 1]",
                b"[1 ]",
                b"[[0]]",
                b"`",
                b"``",
                b"```",
                b"`a",
                b"a`",
                b"a`b",
                b"`a`b",
                b"a.`b",
                b"\xff",
                "[\u0661]".encode(),
            ],
        ]
    ),
    case(paths.get, b"{}", b"a" * 1025, P.TOO_BIG),
    case(paths.get, b"{}", b"a" * 1024, P.NOT_FOUND),
    case(paths.get, b"{}", b".".join([b"a"] * 33), P.TOO_BIG),
    case(paths.get, b"{}", b".".join([b"a"] * 32), P.NOT_FOUND),
    case(paths.get, b"[" * 40 + b"]" * 40, b"[0]" * 32, b"[" * 8 + b"]" * 8),
    case(paths.get, DEEP, b"[0][0]", P.TOO_DEEP),
    case(paths.get, DEEP, b"", P.TOO_DEEP),
    case(paths.get, b'{"a":[],"b":' + DEEP, b"a", b"[]"),
    case(paths.exists, DOC, b"b.c[2]", None),
    case(paths.exists, DOC, b"", None),
    case(paths.exists, DOC, b"b.d", P.NOT_FOUND),
    case(paths.exists, DOC, b"a.d", P.MISMATCH),
    case(paths.count, DOC, b"", b"4"),
    case(paths.count, DOC, b"b.c", b"3"),
    case(paths.count, DOC, b"b.c[2]", b"0"),
    case(paths.count, b"{}", b"", b"0"),
    case(paths.count, b"[1]", b"", b"1"),
    case(paths.count, DOC, b"a", P.MISMATCH),
    case(paths.count, b'["[]"]', b"[0]", P.MISMATCH),
    case(paths.count, DOC, b"x", P.NOT_FOUND),
]

# What is read of these on the way to the key is not JSON.
BROKEN = [
    *[
        b"",
        b" ",
        b"{",
        b'{"',
        b'{"x',
        b'{"x"',
        b'{"x":',
        b'{"x":1',
        b'{"x":1,',
        b'{"x":1,}',
        b"{,}",
        b"{x:1}",
        b"{1:1}",
        b'{"x" 1}',
    ],
    *[b'{"x":1 "a":1}', b'{"x":01,"a":1}', b'{"x":NaN,"a":1}', b'{"x":-Infinity,"a":1}', b'{"x":"\t","a":1}', b'{"\t":1,"a":1}'],
    *[
        b'{"x":[1,],"a":1}',
        b'{"a":1.}',
        b'{"a":1]',
        b'{"a":+1}',
        b'{"a":NaN}',
        b'{"a":1',
        b'{"a":}',
        b"{\"a\":''}",
        b'\xef\xbb\xbf{"a":1}',
    ],
    *[
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":1,"\\x":2}',
        b'{"\\x":2,"a":1}',
        b"tru",
        b"1 1",
        b"[1",
        b"nul",
        b"{[]:1}",
        b"\x00{}",
    ],
]

EDITING = [
    case(edits.add, b"{}", b"a", b" 1 ", False, b'{"a":1}'),
    case(edits.add, b" { } ", b"a", b"1", False, b' {"a":1 } '),
    case(edits.add, b'{ "x" : 1.0\n}', b"a", b'{"k": 1E5}', False, b'{ "x" : 1.0,"a":{"k": 1E5}\n}'),
    case(edits.add, b'[{"x":[]}]', b"[0].y", b"1", False, b'[{"x":[],"y":1}]'),
    case(edits.add, b"{}", '`é\\"\\n``.`'.encode(), b"1", False, '{"é\\"\\n`.":1}'.encode()),
    case(edits.add, b"{}", b"a.b.c", b"1", True, b'{"a":{"b":{"c":1}}}'),
    case(edits.add, b'{"a":{}}', b"a.b.c", b"1", True, b'{"a":{"b":{"c":1}}}'),
    case(edits.add, b"{}", b"a.b", b"1", False, P.NOT_FOUND),
    case(edits.add, b"{}", b"a[0].b", b"1", True, P.NOT_FOUND),
    case(edits.add, b"[]", b"[0].b", b"1", True, P.NOT_FOUND),
    case(edits.add, b"{}", b"a[0].b", b"1", False, P.NOT_FOUND),
    case(edits.add, b'{"a":1}', b"a", b"1", True, P.EXISTS),
    case(edits.add, b'{"a":1}', b"a.b", b"1", True, P.MISMATCH),
    case(edits.add, b"[]", b"a", b"1", True, P.MISMATCH),
    case(edits.upsert, b'{"a" : 1.10 , "b":2, "a":3}', b"a", b"[1,\n2]", False, b'{"a" : [1,\n2] , "b":2, "a":3}'),
    case(edits.upsert, b'{"a":1}', b"b", b"1", False, b'{"a":1,"b":1}'),
    case(edits.upsert, b"{}", b"a.b", b"null", True, b'{"a":{"b":null}}'),
    case(edits.upsert, b"{}", b"a.b", b"1", False, P.NOT_FOUND),
    case(edits.upsert, b"[{}]", b"[0].b", b"1", False, b'[{"b":1}]'),
    case(edits.upsert, b"[{}]", b"[1].b", b"1", True, P.NOT_FOUND),
    case(edits.upsert, b'{"a":[]}', b"a.b", b"1", True, P.MISMATCH),
    *(case(function, b"[1]", b"[0]", b"1", True, P.INVALID) for function in (edits.add, edits.upsert)),
    case(edits.replace, b"[1, 2 ,3]", b"[1]", b"{}", b"[1, {} ,3]"),
    case(edits.replace, b"[1, 2 ,3]", b"[-1]", b"{}", b"[1, 2 ,{}]"),
    case(edits.replace, b'{"a":1 }', b"a", b'"x"', b'{"a":"x" }'),
    case(edits.replace, b"{}", b"a", b"1", P.NOT_FOUND),
    case(edits.replace, b"[]", b"[-1]", b"1", P.NOT_FOUND),
    case(edits.replace, b"5", b"a", b"1", P.MISMATCH),
    case(edits.remove, b'{ "a":1 , "b":2 }', b"a", b'{ "b":2 }'),
    case(edits.remove, b'{ "a":1 , "b":2 }', b"b", b'{ "a":1  }'),
    case(edits.remove, b' { "a":1 } ', b"a", b" {} "),
    case(edits.remove, b"[1, 2, 3]", b"[0]", b"[2, 3]"),
    case(edits.remove, b"[1, 2, 3]", b"[1]", b"[1, 3]"),
    case(edits.remove, b"[1, 2, 3]", b"[-1]", b"[1, 2]"),
    case(edits.remove, b"[ [ 1 ] ]", b"[0][0]", b"[ [] ]"),
    case(edits.remove, b'{"a":1,"a":2}', b"a", b'{"a":2}'),
    case(edits.remove, b"[1]", b"[1]", P.NOT_FOUND),
    case(edits.remove, b"[1]", b"a", P.MISMATCH),
    case(edits.push_last, b"[ ]", b"", b"1", False, b"[1 ]"),
    case(edits.push_last, b"[ 1 ]", b"", b" 2, [3] ,4 ", False, b"[ 1,2, [3] ,4 ]"),
    case(edits.push_last, b'{"a":[[]]}', b"a[-1]", b"1", False, b'{"a":[[1]]}'),
    case(edits.push_last, b"{}", b"a.b", b"1,2", True, b'{"a":{"b":[1,2]}}'),
    case(edits.push_first, b"[ ]", b"", b"1", False, b"[ 1]"),
    case(edits.push_first, b"[ 1 ]", b"", b"2,3", False, b"[ 2,3,1 ]"),
    case(edits.push_first, b"{}", b"a.b", b"1,2", True, b'{"a":{"b":[1,2]}}'),
    *(
        case(function, document, path, b"1", create, problem)
        for function in (edits.push_last, edits.push_first, edits.add_unique)
        for document, path, create, problem in [
            (b"{}", b"", True, P.MISMATCH),
            (b"5", b"", True, P.MISMATCH),
            (b'{"a":"[]"}', b"a", True, P.MISMATCH),
            (b"{}", b"a", False, P.NOT_FOUND),
            (b"[]", b"[0]", True, P.NOT_FOUND),
            (b"{}", b"a[0]", True, P.NOT_FOUND),
        ]
    ),
    case(edits.insert, b"[1, 2]", b"[0]", b"0", b"[0,1, 2]"),
    case(edits.insert, b"[1, 2]", b"[1]", b"5 , 6", b"[1, 5 , 6,2]"),
    case(edits.insert, b"[1, 2 ]", b"[2]", b"5,6", b"[1, 2,5,6 ]"),
    case(edits.insert, b"[]", b"[0]", b"5", b"[5]"),
    case(edits.insert, b'{"a":[1,[2]]}', b"a[-1][1]", b"5", b'{"a":[1,[2,5]]}'),
    case(edits.insert, b"[1, 2]", b"[3]", b"0", P.NOT_FOUND),
    case(edits.insert, b"{}", b"a[0]", b"0", P.NOT_FOUND),
    case(edits.insert, b"[]", b"[0][0]", b"0", P.NOT_FOUND),
    case(edits.insert, b"{}", b"[0]", b"0", P.MISMATCH),
    case(edits.insert, b"[1]", b"[-1]", b"0", P.INVALID),
    case(edits.insert, b"[1]", b"", b"0", P.INVALID),
    case(edits.insert, b'{"a":[]}', b"a", b"0", P.INVALID),
    case(edits.add_unique, b"[]", b"", b"1", False, b"[1]"),
    case(edits.add_unique, b"[1, true,null]", b"", b'"1"', False, b'[1, true,null,"1"]'),
    case(edits.add_unique, b"[true]", b"", b"1", False, b"[true,1]"),
    case(edits.add_unique, b"[1,0]", b"", b"false", False, b"[1,0,false]"),
    case(edits.add_unique, b"[1]", b"", b"1.0", False, b"[1,1.0]"),
    case(edits.add_unique, b"[1.0]", b"", b"1e0", False, P.EXISTS),
    case(edits.add_unique, b'["\\u00e9"]', b"", '"é"'.encode(), False, P.EXISTS),
    case(edits.add_unique, b"[null]", b"", b"null", False, P.EXISTS),
    case(edits.add_unique, b"[0]", b"", b"-0", False, P.EXISTS),
    case(edits.add_unique, b"[" + b"9" * 5000 + b"]", b"", b"9" * 5000, False, P.EXISTS),
    case(edits.add_unique, b"[1,[]]", b"", b"1", False, P.MISMATCH),
    case(edits.add_unique, b"[{}]", b"", b"1", False, P.MISMATCH),
    case(edits.add_unique, b"{}", b"a.b", b"1", True, b'{"a":{"b":[1]}}'),
    case(edits.counter, b'{"n" : 1 }', b"n", b"5", False, (b'{"n" : 6 }', 6)),
    case(edits.counter, b"[ -0 ]", b"[0]", b"-5", False, (b"[ -5 ]", -5)),
    case(edits.counter, b"[1]", b"[-1]", b"+1", False, (b"[2]", 2)),
    case(edits.counter, b"{}", b"n", b"+5", False, (b'{"n":5}', 5)),
    case(edits.counter, b"{}", b"a.n", b"-5", True, (b'{"a":{"n":-5}}', -5)),
    case(edits.counter, b"[%d]" % (BIG - 2), b"[0]", b"1", False, (b"[%d]" % (BIG - 1), BIG - 1)),
    case(edits.counter, b"[%d]" % -BIG, b"[0]", b"%d" % (BIG - 1), False, (b"[-1]", -1)),
    case(edits.counter, b"[0]", b"[0]", b"%d" % -BIG, False, (b"[%d]" % -BIG, -BIG)),
    case(edits.counter, b"{}", b"a.n", b"5", False, P.NOT_FOUND),
    case(edits.counter, b"[]", b"[0]", b"5", True, P.NOT_FOUND),
    *(
        case(edits.counter, b"[%s]" % old, b"[0]", b"1", True, P.MISMATCH)
        for old in (b"1.0", b"1e3", b'"1"', b"null", b"[]", b"true")
    ),
    case(edits.counter, b"[%d]" % (BIG - 1), b"[0]", b"1", False, P.NUMBER_RANGE),
    case(edits.counter, b"[%d]" % -BIG, b"[0]", b"-1", False, P.NUMBER_RANGE),
    case(edits.counter, b"[%d]" % BIG, b"[0]", b"-1", False, P.NUMBER_RANGE),
    case(edits.counter, b"[" + b"9" * 5000 + b"]", b"[0]", b"1", False, P.NUMBER_RANGE),
    *(
        case(edits.counter, b"[1]", b"[0]", delta, True, P.DELTA)
        for delta in [
            b"",
            b"0",
            b"-0",
            b"1.0",
            b"1e1",
            b" 1",
            b"1\n",
            b"1_0",
            b"--1",
            b"%d" % BIG,
            b"%d" % (-BIG - 1),
            b"9" * 5000,
            b"\xff",
        ]
    ),
]

# Each function that edits, with arguments that suit a document with such a key.
EDITS = [
    (edits.add, (b"1", True)),
    (edits.upsert, (b"1", True)),
    (edits.replace, (b"1",)),
    (edits.remove, ()),
    (edits.push_last, (b"1", True)),
    (edits.push_first, (b"1", True)),
    (edits.insert, (b"1",)),
    (edits.add_unique, (b"1", True)),
    (edits.counter, (b"1", True)),
]
with_every_edit = pytest.mark.parametrize("function, arguments", EDITS, ids=lambda value: getattr(value, "__name__", ""))


def outcome(function, *arguments, **options):
    try:
        return function(*arguments, **options)
    except PathError as exc:
        return exc.problem


@pytest.mark.parametrize("function, document, arguments, expected", READING + EDITING)
def test_example(function, document, arguments, expected):
    for piece in PIECES:
        got = outcome(function, document, *arguments, piece=piece)
        assert got == expected
    if function not in (paths.get, paths.exists, paths.count) and not isinstance(got, PathProblem):
        assert is_json(got[0] if function is edits.counter else got)


@pytest.mark.parametrize("document", BROKEN)
def test_not_json(document):
    for function in (paths.get, paths.exists, paths.count):
        for path in (b"a", b""):
            # A function that only reads may have found its value in front of what is wrong.
            assert outcome(function, document, path) is P.NOT_JSON or (path and document.startswith(b'{"a":1,'))
    for function, arguments in EDITS:
        assert outcome(function, document, b"[0]" if function is edits.insert else b"a", *arguments) is P.NOT_JSON
    assert not is_json(document)


@with_every_edit
def test_too_deep(function, arguments):
    path = b"[0]" if function is edits.insert else b"a"
    assert outcome(function, b'{"x":' + DEEP + b"}", path, *arguments) is P.TOO_DEEP


def test_is_json():
    assert is_json(b' [1, "x"] ')
    assert is_json(b"5")
    assert not is_json(DEEP)


@with_every_edit
def test_bad_paths(function, arguments):
    assert outcome(function, b"{}", b"a..b", *arguments) is P.INVALID
    assert outcome(function, b"{}", b"a" * 1025, *arguments) is P.TOO_BIG
    if function not in (edits.push_first, edits.push_last, edits.add_unique):
        assert outcome(function, b"{}", b"", *arguments) is P.INVALID


@pytest.mark.parametrize("function, arguments", EDITS[:3] + EDITS[4:8], ids=lambda value: getattr(value, "__name__", ""))
def test_bad_values(function, arguments):
    path = b"[0]" if function is edits.insert else b"a"
    document = b"[]" if function is edits.insert else b'{"a":[]}'
    values = [
        b"",
        b" ",
        b"tru",
        b"1 2",
        b"1,",
        b",1",
        b"1],[2",
        b"NaN",
        b"[Infinity]",
        b"\xff",
        b'"\xff"',
        b"01",
        b"1.",
        b"{",
        b"\xef\xbb\xbf1",
    ]
    values += [b"'a'", b'"a', b'"\n"', b"{1:1}", b'"a":1', b"1}", b"1]"]
    if function not in (edits.push_first, edits.push_last, edits.insert):
        values.append(b"1,2")
    if function is edits.add_unique:
        values += [b"[]", b" {}"]
    for value in values:
        assert outcome(function, document, path, value, *arguments[1:]) is P.CANT_INSERT
    assert outcome(function, document, path, DEEP, *arguments[1:]) is P.VALUE_TOO_DEEP


def test_the_error_tells_its_problem():
    with pytest.raises(PathError, match="not found") as caught:
        paths.get(b"{}", b"a")
    assert caught.value.problem is P.NOT_FOUND


# Against a model


class Number(str):
    """A number as it is written."""

    __slots__ = ()


class Problem(Exception):
    """What the model says instead of PathError."""


def parse(document):
    return json.loads(document, parse_int=Number, parse_float=Number)


def same(one, other):
    """Compare without taking 1 for true, and with the order of the keys."""
    return shape(one) == shape(other)


def shape(value):
    if isinstance(value, dict):
        return dict, [(key, shape(member)) for key, member in value.items()]
    if isinstance(value, list):
        return list, [shape(element) for element in value]
    return type(value), value


def model_walk(root, components):
    """Return the containers and the value at the end, and the components that are missing."""
    node, parent = root, None
    for depth, component in enumerate(components):
        if not isinstance(node, dict if isinstance(component, str) else list):
            raise Problem(P.MISMATCH)
        parent = node
        if isinstance(node, dict):
            if component not in node:
                return node, None, components[depth:]
        elif component >= len(node) or not node:
            return node, None, components[depth:]
        node = node[component]
    return parent, node, []


def model_find(root, components):
    parent, node, missing = model_walk(root, components)
    if missing:
        raise Problem(P.NOT_FOUND)
    return parent, node


def model_make(node, missing, value, create):
    if (len(missing) > 1 and not create) or any(isinstance(component, int) for component in missing):
        raise Problem(P.NOT_FOUND)
    for key in missing[:-1]:
        node[key] = {}
        node = node[key]
    node[missing[-1]] = value


def model_get(root, components):
    return model_find(root, components)[1]


def model_exists(root, components):
    model_find(root, components)


def model_count(root, components):
    _, node = model_find(root, components)
    if not isinstance(node, (dict, list)):
        raise Problem(P.MISMATCH)
    return Number(len(node))


def model_add(root, components, value, create):
    node, _, missing = model_walk(root, components)
    if not missing:
        raise Problem(P.EXISTS)
    model_make(node, missing, value, create)


def model_upsert(root, components, value, create):
    parent, _, missing = model_walk(root, components)
    if missing:
        model_make(parent, missing, value, create)
    else:
        parent[components[-1]] = value


def model_replace(root, components, value):
    parent, _ = model_find(root, components)
    parent[components[-1]] = value


def model_remove(root, components):
    parent, _ = model_find(root, components)
    del parent[components[-1]]


def model_array(root, components, values, create):
    parent, node, missing = model_walk(root, components)
    if missing:
        if not create:
            raise Problem(P.NOT_FOUND)
        model_make(parent, missing, node := [], create)
    if not isinstance(node, list):
        raise Problem(P.MISMATCH)
    return node


def model_push_last(root, components, values, create):
    model_array(root, components, values, create).extend(values)


def model_push_first(root, components, values, create):
    model_array(root, components, values, create)[:0] = values


def model_insert(root, components, values):
    _, node = model_find(root, components[:-1])
    if not isinstance(node, list):
        raise Problem(P.MISMATCH)
    if components[-1] > len(node):
        raise Problem(P.NOT_FOUND)
    node[components[-1] : components[-1]] = values


def comparable(value):
    """Return a primitive so that it equals those that are the same value."""
    if isinstance(value, Number):
        return ("int", int(value)) if re.fullmatch("-?[0-9]+", value) else ("float", float(value))
    return type(value), value


def model_add_unique(root, components, value, create):
    array = model_array(root, components, [value], create)
    if any(isinstance(element, (dict, list)) for element in array):
        raise Problem(P.MISMATCH)
    if any(comparable(element) == comparable(value) for element in array):
        raise Problem(P.EXISTS)
    array.append(value)


def model_counter(root, components, delta, create):
    parent, node, missing = model_walk(root, components)
    if missing:
        model_make(parent, missing, Number(delta), create)
        return
    if not isinstance(node, Number) or not re.fullmatch("-?[0-9]+", node):
        raise Problem(P.MISMATCH)
    if not (-BIG <= int(node) < BIG and -BIG <= int(node) + delta < BIG):
        raise Problem(P.NUMBER_RANGE)
    parent[components[-1]] = Number(int(node) + delta)


KEYS = st.one_of(
    st.sampled_from(["a", "b", "c", "é", "a.b", "x`y", "`", "[0]", '"', "\\", "\n", "0"]), st.text(min_size=1, max_size=4)
).filter(
    lambda key: not any("\ud800" <= character <= "\udfff" or (character < " " and character not in "\n\t") for character in key)
)
NUMBERS = st.one_of(
    st.integers(-5, 5).map(str),
    st.sampled_from(["1.10", "1E5", "-0", "1e-0", "0.0", "12345678901234567890123", str(BIG - 1), str(-BIG), str(BIG)]),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
).map(Number)
PRIMITIVES = st.one_of(NUMBERS, st.sampled_from([True, False, None, "", "1", "a,b", "]}", 'q"q', "\\"]), st.text(max_size=5))
VALUES = st.recursive(
    PRIMITIVES,
    lambda inside: st.one_of(st.lists(inside, max_size=4), st.dictionaries(KEYS, inside, max_size=4)),
    max_leaves=12,
)
CONTAINERS = st.one_of(st.lists(VALUES, max_size=4), st.dictionaries(KEYS, VALUES, max_size=5), VALUES)
RANDOMS = st.randoms(use_true_random=False)


def render(value, chooser: random.Random):
    """Write a value with blanks in random places."""

    def blank():
        return chooser.choice(["", "", "", " ", "\n\t", "\r "])

    if isinstance(value, Number):
        text = str(value)
    elif isinstance(value, list):
        text = "[" + (",".join(render(element, chooser) for element in value) or blank()) + "]"
    elif isinstance(value, dict):
        members = (blank() + string(key, chooser) + blank() + ":" + render(member, chooser) for key, member in value.items())
        text = "{" + (",".join(members) or blank()) + "}"
    else:
        text = string(value, chooser) if isinstance(value, str) else json.dumps(value)
    return blank() + text + blank()


def string(value, chooser):
    return json.dumps(value, ensure_ascii=chooser.random() < 0.5)


def written(components):
    """Return the path of some components."""
    text = ""
    for component in components:
        if isinstance(component, int):
            text += f"[{component}]"
        else:
            component = json.dumps(component, ensure_ascii=False)[1:-1]
            quoted = "`" + component.replace("`", "``") + "`" if re.search(r"[`.\[\]]", component) else component
            text += f".{quoted}" if text else quoted
    return text.encode()


@st.composite
def paths_into(draw, root):
    """Paths that mostly exist, at least in part."""
    components, node = [], root
    for _ in range(draw(st.integers(0, 5))):
        if draw(st.integers(0, 9)) == 0:
            component = draw(st.one_of(KEYS, st.integers(-1, 3)))
        elif isinstance(node, dict):
            component = draw(st.sampled_from(sorted(node)) if node and draw(st.integers(0, 3)) else KEYS)
        elif isinstance(node, list):
            component = draw(st.integers(-1, len(node)))
        else:
            break
        components.append(component)
        try:
            node = node[component]
        except (LookupError, TypeError):
            node = draw(st.sampled_from([None, {}, []]))
    assume(len(written(components)) <= 1024)
    return components


def sensible(name, components):
    """Tell whether this path is one that the function takes."""
    if name in ("add", "upsert"):
        return bool(components) and isinstance(components[-1], str)
    if name == "insert":
        return bool(components) and isinstance(components[-1], int) and components[-1] >= 0
    if name in ("replace", "remove", "counter"):
        return bool(components)
    return True


NAMES = [
    "get",
    "exists",
    "count",
    "add",
    "upsert",
    "replace",
    "remove",
    "push_last",
    "push_first",
    "insert",
    "add_unique",
    "counter",
]


@pytest.mark.parametrize("name", NAMES)
@given(st.data())
def test_against_the_model(name, data):
    root = data.draw(CONTAINERS)
    chooser = data.draw(RANDOMS)
    components = data.draw(paths_into(root))
    document = render(root, chooser).encode("utf-8")
    assert same(parse(document), root)
    model_arguments, arguments = [], []
    if name in ("push_last", "push_first", "insert"):
        values = data.draw(st.lists(VALUES, min_size=1, max_size=3))
        model_arguments.append(values)
        arguments.append(",".join(render(value, chooser) for value in values).encode())
    elif name in ("add", "upsert", "replace", "add_unique"):
        value = data.draw(PRIMITIVES if name == "add_unique" else VALUES)
        model_arguments.append(value)
        arguments.append(render(value, chooser).encode())
    elif name == "counter":
        delta = data.draw(st.one_of(st.integers(-5, 5), st.integers(-BIG, BIG - 1)).filter(bool))
        model_arguments.append(delta)
        arguments.append(b"%d" % delta)
    if name in ("add", "upsert", "push_last", "push_first", "add_unique", "counter"):
        create = data.draw(st.booleans())
        model_arguments.append(create)
        arguments.append(create)
    model = copy.deepcopy(root)
    try:
        if not sensible(name, components):
            raise Problem(P.INVALID)
        expected = globals()[f"model_{name}"](model, components, *copy.deepcopy(model_arguments))
    except Problem as exc:
        expected, model = exc.args[0], root
    function = getattr(paths, name, None) or getattr(edits, name)
    got = outcome(function, document, written(components), *arguments, piece=data.draw(st.sampled_from(PIECES)))
    event(f"{expected}" if isinstance(expected, PathProblem) else "done")
    if isinstance(expected, PathProblem):
        assert got is expected
    elif name == "exists":
        assert got is None
    elif name in ("get", "count"):
        assert same(parse(got), expected)
    else:
        if name == "counter":
            got, number = got
            assert same(model_get(model, components), Number(number))
        assert same(parse(got), model)


def existing(data):
    """Draw a document with at least one value in it, and the components of a path to one."""
    root = data.draw(CONTAINERS.filter(lambda value: isinstance(value, (dict, list)) and value))
    components, node = [], root
    while isinstance(node, (dict, list)) and node and (not components or data.draw(st.booleans())):
        components.append(data.draw(st.sampled_from(list(node) if isinstance(node, dict) else list(range(len(node))))))
        node = node[components[-1]]
    return render(root, data.draw(RANDOMS)).encode(), components, node


@given(st.data(), VALUES)
def test_a_value_that_is_put_back_leaves_no_trace(data, other):
    document, components, _ = existing(data)
    path = written(components)
    value = paths.get(document, path)
    assert edits.replace(document, path, value) == document
    changed = edits.replace(document, path, render(other, random.Random(1)).encode())
    assert edits.replace(changed, path, value) == document
    if isinstance(components[-1], str):
        assert edits.upsert(edits.upsert(document, path, b"1", False), path, value, False) == document


@given(st.data(), VALUES)
def test_what_is_added_can_be_removed_again(data, value):
    document, components, node = existing(data)
    path, new = written(components), render(value, random.Random(1)).encode()
    if isinstance(node, dict):
        key = data.draw(KEYS.filter(lambda key: key not in node))
        added = [(edits.add(document, written([*components, key]), new, False), [*components, key])]
    elif isinstance(node, list):
        added = [
            (edits.push_last(document, path, new, False), [*components, -1]),
            (edits.push_first(document, path, new, False), [*components, 0]),
        ]
        index = data.draw(st.integers(0, len(node)))
        middle = edits.insert(document, path + b"[%d]" % index, new)
        assert same(parse(edits.remove(middle, path + b"[%d]" % index)), parse(document))
    else:
        added = []
    for changed, where in added:
        assert same(parse(paths.get(changed, written(where))), value)
        restored = edits.remove(changed, written(where))
        assert same(parse(restored), parse(document))
        if node:
            assert restored == document


@given(st.data())
def test_what_is_removed_is_one_run_of_the_text(data):
    document, components, _ = existing(data)
    changed = edits.remove(document, written(components))
    start = next((at for at, (one, other) in enumerate(zip(document, changed)) if one != other), len(changed))
    assert any(document[:at] + document[at + len(document) - len(changed) :] == changed for at in range(start + 1))


FUNCTIONS = [
    (getattr(paths, name, None) or getattr(edits, name), arguments)
    for name, arguments in (
        ("get", ()),
        ("exists", ()),
        ("count", ()),
        *((function.__name__, arguments) for function, arguments in EDITS),
    )
]
SOUP = st.lists(st.sampled_from([*'{}[],:"\\.`- 10ae', "é", "true", "NaN", '"a":', "[0]", "\x00"]), max_size=12).map(
    lambda parts: "".join(parts).encode()
)


@given(st.one_of(SOUP, st.binary(max_size=8)), st.one_of(SOUP, st.binary(max_size=8)))
def test_nonsense_is_refused_with_the_right_error(document, path):
    for function, arguments in FUNCTIONS:
        got = outcome(function, document, path, *arguments)
        if not isinstance(got, PathProblem) and function.__name__ not in ("get", "exists", "count"):
            json.loads(got[0] if function is edits.counter else got)


@given(SOUP)
def test_is_json_agrees_with_the_decoder(data):
    try:
        json.loads(data.decode(), parse_constant=pytest.fail)
        expected = True
    except (ValueError, pytest.fail.Exception):
        expected = False
    assert is_json(data) == expected


def test_a_value_at_the_start_is_found_without_reading_the_rest():
    assert paths.get(b'{"a":{"b":1,"c":[this is no JSON', b"a.b") == b"1"


@pytest.mark.parametrize("inside", [b"\n", b"\0", b"\x1f", b"\\x", b"\\", b'"'])
@pytest.mark.parametrize("length", [PIECE, PIECE + 1, 3 * PIECE])
def test_what_is_wrong_behind_many_pieces_of_a_string_is_seen(inside: bytes, length: int) -> None:
    with pytest.raises(PathError, match="not JSON"):
        Document(b'["%b%b%b"]' % (b"x" * length, inside, b"x" * 10)).check()
    Document(b'["%b%b%b"]' % (b"x" * length, b"\x7f\\n", b"x" * length)).check()
