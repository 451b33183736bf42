"""Sphinx's configuration."""

from importlib.metadata import version as _version

project = "trio-spool"
author = "The trio-spool authors"
project_copyright = "2026, the trio-spool authors"
release = version = _version("trio-spool")
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx"]
html_theme = "alabaster"
html_theme_options = {"description": "Worker threads spool; the one task that owns the socket sends.", "fixed_sidebar": True}
autodoc_typehints = "description"
autodoc_member_order = "bysource"
default_role = "code"
nitpicky = False
exclude_patterns = ["_build"]
# No inventories of other projects are fetched: building needs no network.
intersphinx_mapping = {}
# Statistics have an attribute named bytes, which the type of that name is taken for.
suppress_warnings = ["ref.python"]
