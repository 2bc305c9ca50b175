"""Paced load that remembers every operation: what was asked, when, what came back, and what should have.

`crew` starts generators and talks to them; a generator is a process of its own (`generator`), so that whoever measures
is not what is measured. `findings` says what the records show.
"""
