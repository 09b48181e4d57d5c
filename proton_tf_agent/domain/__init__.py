"""What is true: runs, verdicts, bindings, notifications and the outbox.

Pure: no clock, no file, no thread, no third party. Whatever time, chance or the disk has to say comes in as
an argument, so that the same evidence gives the same rows on every machine and after every crash.
"""
