"""Copies of the package whose every access to a shared field is a switch point."""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.machinery
import itertools
import linecache
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import CodeType, ModuleType

import trio_spool

from . import baton, stand_ins

ROOT = Path(trio_spool.__file__).parent
# The rooms whose code is copied with switch points; the others are loaded as they are.
ROOMS = ("_core", "asyncio", "streams")
# The methods of lists, deques, sets and buffers that read or change them.
METHODS = frozenset(
    [
        "add",
        "append",
        "appendleft",
        "clear",
        "discard",
        "extend",
        "getbuffer",
        "getvalue",
        "insert",
        "pop",
        "popleft",
        "read",
        "remove",
        "reverse",
        "seek",
        "tell",
        "truncate",
        "write",
    ]
)
# What is said to the event loop from another thread.
CALLS = frozenset(("run_sync_soon", "call_soon_threadsafe"))
STAND_INS = stand_ins.__name__


class _Instrument(ast.NodeTransformer):
    """Puts a call of `baton.point` around each object of which something is read or changed.

    Args:
        module: The name of the module, for the sites.
        names: The attributes that the copied modules assign to.
        chosen: The sites and attributes to keep; all, if None.
    """

    def __init__(self, module: str, names: Collection[str], chosen: Collection[str] | None) -> None:
        self._module = module
        self._names = names
        self._chosen = chosen

    def _point(self, target: ast.expr, what: str) -> ast.expr:
        site = f"{self._module}:{target.lineno} {what}"
        arguments = [target, ast.Constant(site)]
        return ast.copy_location(ast.Call(ast.Name("__point__", ast.Load()), arguments, []), target)

    def _keeps(self, key: str) -> bool:
        return self._chosen is None or key in self._chosen

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if node.name != "__init__":  # nobody else sees the object yet
            node.body = [self.visit(statement) for statement in node.body]
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if node.attr in self._names and self._keeps(node.attr):
            what = node.attr if isinstance(node.ctx, ast.Load) else f"{node.attr} ="
            node.value = self._point(node.value, what)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        """Read and write in two steps: another thread may come between the two."""
        self.generic_visit(node)
        target = node.target
        if not isinstance(target, ast.Attribute) or target.attr not in self._names or not self._keeps(target.attr):
            return node
        holder = target.value
        assert isinstance(holder, ast.Call)
        read = ast.Attribute(self._point(holder.args[0], target.attr), target.attr, ast.Load())
        value = ast.BinOp(read, node.op, node.value)
        return ast.fix_missing_locations(ast.copy_location(ast.Assign([target], value), node))

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        if self._keeps(f"{self._module}:{node.lineno}:[]"):
            node.value = self._point(node.value, "[]")
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        function = node.func
        if isinstance(function, ast.Attribute) and (
            function.attr in CALLS or (function.attr in METHODS and self._keeps(f"{self._module}:{node.lineno}:{function.attr}"))
        ):
            function.value = self._point(function.value, f"{function.attr}()")
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None:
            node.value = self.visit(node.value)
        node.target = self.visit(node.target)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if node.module == "time" and not node.level:
            node.module = STAND_INS
        return node

    def visit_Import(self, node: ast.Import) -> ast.AST | list[ast.stmt]:
        statements: list[ast.stmt] = []
        for alias in node.names:
            if alias.name in ("time", "threading"):
                package, _, module = STAND_INS.rpartition(".")
                statement = ast.ImportFrom(package, [ast.alias(module, alias.asname or alias.name)], 0)
                statements.append(ast.copy_location(statement, node))
            else:
                statements.append(ast.copy_location(ast.Import([alias]), node))
        return statements


def _assigned_names() -> frozenset[str]:
    """Return the names of the attributes that the copied modules assign to."""
    names = set()
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
                    names.add(node.attr)
    return frozenset(names)


# Texts to replace in the source of modules, by their names: for each, the old and the new text.
Mutations = Mapping[str, Sequence[tuple[str, str]]]
_numbers = itertools.count()
_codes: dict[tuple[Path, str, frozenset[str] | None], CodeType] = {}


class Copy(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """A copy of the package, under a name of its own.

    Args:
        chosen: The sites and attributes that are switch points; all, if None.
        mutations: Faults to put in.
    """

    def __init__(self, chosen: frozenset[str] | None = None, mutations: Mutations | None = None) -> None:
        self.name = f"copied{next(_numbers)}"
        self._chosen = chosen
        self._mutations = dict(mutations or {})
        self._names = _assigned_names()

    def load(self, module: str) -> ModuleType:
        """Import a module of the copy: ``_core.handover._handoff``."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        return importlib.import_module(f"{self.name}.{module}")

    def unload(self) -> None:
        """Forget the copy's modules."""
        sys.meta_path.remove(self)
        for name in [name for name in sys.modules if name.partition(".")[0] == self.name]:
            del sys.modules[name]

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        first, *rest = fullname.split(".")
        if first != self.name:
            return None
        place = ROOT.joinpath(*rest)
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if not file.exists():
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=str(file), is_package=place.is_dir())
        if place.is_dir():
            spec.submodule_search_locations = [str(place)]
        return spec

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None and module.__spec__.origin is not None
        path = Path(module.__spec__.origin)
        module.__file__ = str(path)
        name = module.__name__.partition(".")[2]
        source = path.read_text()
        for old, new in self._mutations.get(name, ()):
            if source.count(old) != 1:  # no AssertionError: that would mean that the mutant was found
                raise ValueError(f"a mutant of {name} replaces a text that is there {source.count(old)} times: {old!r}")
            source = source.replace(old, new + "\n" * (old.count("\n") - new.count("\n")))  # the sites have line numbers
        instrumented = name.split(".")[0] in ROOMS
        key = (path, source, self._chosen if instrumented else None)
        if key not in _codes:
            tree = ast.parse(source)
            if instrumented:
                tree = ast.fix_missing_locations(_Instrument(path.stem, self._names, self._chosen).visit(tree))
            # No file's name: a recorder of coverage would be confused by greenlets, and slow them down.
            place = f"<{name} of a copy{', changed' if name in self._mutations else ''}>"
            linecache.cache[place] = (len(source), None, source.splitlines(keepends=True), place)
            _codes[key] = compile(tree, place, "exec")
        vars(module)["__point__"] = baton.point
        exec(_codes[key], vars(module))
        if name == "_core._loop":
            vars(module)["Loop"].watch = stand_ins.Watch()


class Observer:
    """Finds out which fields and objects both sides use, of which at least one writes: an object for `Baton.observer`."""

    def __init__(self) -> None:
        self._attributes: dict[str, set[tuple[str, bool]]] = {}
        self._objects: dict[int, tuple[object, set[str], set[str]]] = {}

    def __call__(self, target: object, site: str) -> None:
        ruling = baton.ruling()
        assert ruling is not None and ruling.current is not None
        side = ruling.current.side
        place, _, what = site.partition(" ")
        if what.endswith(("()", "[]")):
            key = f"{place}:{what.removesuffix('()')}"
            _, sides, sites = self._objects.setdefault(id(target), (target, set(), set()))
            sides.add(side)
            sites.add(key)
        else:
            name = what.removesuffix(" =")
            self._attributes.setdefault(name, set()).add((side, name != what))

    def shared(self) -> frozenset[str]:
        """Return what to choose as switch points: names of attributes, and sites where objects are used."""
        found = {
            name
            for name, uses in self._attributes.items()
            if len({side for side, _ in uses}) > 1 and any(writes for _, writes in uses)
        }
        for _, sides, sites in self._objects.values():
            if len(sides) > 1:
                found |= sites
        return frozenset(found)
