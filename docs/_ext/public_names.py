"""Link a type to the page of its public name.

``trio_spool._core.sending._sender.Sender`` in a signature is documented as ``trio_spool.Sender``; ``ServerError``, as another
package's docstring names it, is ``trio_spool.client.ServerError``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def public_names(target: str, known: set[str]) -> Iterator[str]:
    """Yield the names that a target may be documented under."""
    if target.startswith("trio_spool."):
        # Packages re-export what is public under the same name.
        yield ".".join(part for part in target.split(".") if not part.startswith("_"))
    elif "." not in target:
        yield from sorted((name for name in known if name.startswith("trio_spool.") and name.endswith(f".{target}")), key=len)


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.TextElement) -> Any:
    """Try again with the public name."""
    if node.get("refdomain") != "py" or node["reftype"] == "obj":
        return None
    domain = env.get_domain("py")
    known = set(domain.data["objects"])
    for name in public_names(node["reftarget"], known):
        if name in known:
            return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], name, node, contnode)
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
