"""Where facts come from: files below the watched roots, read and never written.

`watch` says that something may have changed, `observe` reads it, the readers turn bytes into evidence and know
neither each other nor the journal.
"""
