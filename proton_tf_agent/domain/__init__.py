"""What is true: runs, verdicts, bindings, notifications and the outbox.

Pure: no clock, no file, no thread, and of third parties only what values are made of. Whatever time, chance or the disk
has to say comes in as an argument, so that the same evidence gives the same rows on every machine, after every crash.
"""
