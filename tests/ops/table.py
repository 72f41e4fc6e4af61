"""The table that drives the suite: one entry for every operation of the package, by its name.

An operation that is registered but has no entry here fails ``test_every_op``: no operation goes
without its gradient being compared with finite differences.
"""

from tests.ops import table_elementwise, table_network, table_reduction, table_shape
from tests.ops.case import Entry

TABLE: dict[str, Entry] = {
    **table_elementwise.ENTRIES,
    **table_reduction.ENTRIES,
    **table_shape.ENTRIES,
    **table_network.ENTRIES,
}


def uncovered(registered: set[str], table: dict[str, Entry]) -> set[str]:
    """The operations that have no entry."""
    return registered - table.keys()
