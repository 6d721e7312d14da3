"""The faults, each a row: `FAULTS[name]`.

    model       what a fault is, whom it hits      probes      looking from outside
    processes   paused, killed, stopped            networks    off the network, split in two
    cuts        single links, one direction        firewall    how packets are dropped for that
    disks       full, wiped                        catch_up    cut off in the middle of a snapshot
"""

from chaos.faults.model import During, Fault, Proof, Targets, View
from chaos.faults.table import FAULTS

__all__ = ["FAULTS", "During", "Fault", "Proof", "Targets", "View"]
