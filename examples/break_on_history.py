"""Who called a function the last time before the program ended, and with what stack?

``odograph run -o ls.data -- ls -l /usr`` makes the recording.
"""

import sys

import odograph
from odograph.processor import ReplayProcessor

recording, function = sys.argv[1:] or ("ls.data", "free")
history = odograph.open(recording).history()
cpu = ReplayProcessor(history)
cpu.goto(len(history))
for first, last in cpu.breakpoints.places(function):
    cpu.breakpoints.add_instruction(first, last, callback=lambda cpu, address, size: cpu.stop())
print(cpu.run(reverse=True, across_gaps=True))
print(history.stack(cpu.step))
