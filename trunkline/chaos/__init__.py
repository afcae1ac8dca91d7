"""`trunkline chaos`: real calls, workers killed under them, and an account of what was lost.

script.py     what callers say, what the agent answers, and what undisturbed hearing makes of it
strikes.py    who is hit, when, with what
takeover.py   how long the work of whoever was hit lay idle
words.py      words and sentences compared: lost, added
verdict.py    one call judged by its log
sound.py      one call judged by what its phone heard, and by what was kept of it
report.py     all calls, as one object and as a table
run.py        the run
"""
