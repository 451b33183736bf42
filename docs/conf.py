"""Sphinx's configuration. ``nox -s docs`` builds the pages; nothing is fetched from the network, and a warning is an error."""

import sys
from importlib.metadata import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from inventories import compiled

_project = metadata("trio-spool")
_urls = dict(line.split(", ", 1) for line in _project.get_all("Project-URL"))

project = "trio-spool"
author = "The trio-spool authors"
project_copyright = "2026, the trio-spool authors"
release = version = _project["Version"]

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx.ext.extlinks",
    "sphinx_copybutton",
    "sphinx_click",
    "myst_parser",
    "public_names",
    "figures",
    "usage",
    "server_tables",
]
exclude_patterns = ["_build", "_inventories"]
default_role = "py:obj"

# Links. Every type in a signature must be found: here, or in the inventories of other projects.
nitpicky = True
nitpick_ignore_regex = [
    ("py:class", r"(trio_spool\..*\.)?[BT]"),  # type variables
    ("py:class", r"trio_spool\._core\.handover\._items\.Bytes"),  # the type of a default
    ("py:class", r"trio_spool\._core\.trio\._open_sender\.SenderBlock"),  # entered, never named by users
    ("py:class", r"Notifier|InheritedSocket"),  # parts of a Supervisor, never named by users
    ("py:class", r"trio_spool\._incidents\.Incidents"),  # what the service hands to its engines
    ("py:class", "WSGIApplication"),  # known to type checkers only
    ("py:class", "Application|Headers"),  # what ASGI and this package call types that are spelt out beside them
    ("py:class", r"BackgroundTask|starlette\..*"),  # Starlette has no inventory
    ("py:obj", ".*"),  # a docstring's `word` is a link where there is something to link to
    ("py:class", r"trio_spool\.client\._calls\.Call"),  # awaited, never named by users
]
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", compiled("python")),
    "trio": ("https://trio.readthedocs.io/en/stable", compiled("trio")),
}
extlinks = {"source": (f"{_urls['Source']}/blob/main/%s", "%s")}
# Statistics have an attribute named bytes, which the type of that name is taken for. Included Markdown begins below a title of ours.
suppress_warnings = ["ref.python", "myst.header"]

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"  # constructors that are ours stay out
autodoc_member_order = "bysource"
napoleon_use_ivar = True

# What is copied from a shell session: the commands.
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = f"trio-spool {release}"
html_baseurl = _urls["Documentation"]
html_static_path = ["_static"]
html_css_files = ["phone.css"]
html_theme_options = {
    "source_repository": f"{_urls['Source']}/",
    "source_branch": "main",
    "source_directory": "docs/",
    "footer_icons": [],
}
