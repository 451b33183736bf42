"""A deterministic simulation of threads and an event loop, for tests of code in which the two meet.

Everything runs in one thread of the system. What would be threads are *strands* (greenlets), of which only the one that holds the
baton runs; it passes the baton on at *switch points* only:

- `baton` decides who runs next, and notices when nobody can. It draws its decisions from a seed, or takes them from a list.
- `copies` loads a copy of a package in which each access to a field that both sides use is a switch point. The code under test
  needs no hooks for this, and a mutant is a copy with one text replaced.
- `stand_ins` are the locks and clocks that a copy gets in place of those of `threading` and `time`.
- `trio_strand` and `asyncio_strand` run the real event loops in a strand: only waiting for I/O, and running a function in a thread, are
  replaced. `strand_loop` is an event loop as small as one can be, for trying many schedules of little.
- `exploring` tries seeds, or all schedules with a few interruptions, and shortens one that failed.
- `scenarios`, `asyncio_spools`, `sending` and `handing_over` are what is simulated, and what must be true in the end.
- `subjects` puts the parts together.

What one bytecode does is one step, as it is under the interpreter's lock.
"""
