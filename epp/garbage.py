"""When the garbage collector looks for cycles, which hold up every stream meanwhile.

A request's own objects are freed as it ends, without the collector (the tests see to it); what
stays is kept on purpose. So the less it looks, the better: with the interpreter's thresholds it
takes 3.8 % of the CPU time that small requests, chunks and long prompts cost with ten endpoints,
and stops the picker for up to 113 ms; with these 1.3 %, and up to 36 ms. The memory in use at the
end grows from 228 to 232 MiB. (Measured with grpcio carrying the streams, which makes cycles of its
own, and with an index of dictionaries: the worst case.)
"""

from __future__ import annotations

import gc

# How many objects more than before there are for a pass over the young ones; how many such passes
# there are for one over the middle-aged (few, so that not many gather), and of these for one over
# all. 50,000 for the first saves another 0.6 %, but keeps grpcio's cycles, six objects for each
# stream, five times as long.
THRESHOLDS = (10_000, 2, 100)


def settle() -> None:
    """Call this when all is built: what is there now will stay, and is never looked at again.

    Takes 15 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
