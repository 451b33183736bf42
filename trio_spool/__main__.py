"""``python -m trio_spool``."""

from .cli import main

main(prog_name="trio-spool")
