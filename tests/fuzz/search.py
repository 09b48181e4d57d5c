"""Search one target by coverage: `python tests/fuzz/search.py TARGET SECONDS`. `make fuzz` does so for all of them.

What is found is written to `seeds/TARGET/`, from where every test run tries it again; the exit status is 1 then. The
corpus of a search lies in `.fuzz/TARGET` and is gone on with. atheris (libFuzzer for Python) instruments the readers.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

with atheris.instrument_imports(include=["proton_tf_agent"]):
    from fuzz.test_any_bytes import EXAMPLES
    from support.fuzz_targets import TARGETS_BY_NAME


def main() -> None:
    """Search until the time is over or something is found."""
    target, seconds = sys.argv[1], sys.argv[2]
    corpus = HERE.parents[1] / ".fuzz" / target
    corpus.mkdir(parents=True, exist_ok=True)
    for content in EXAMPLES[target]:
        (corpus / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)

    def try_one(content: bytes) -> None:
        try:
            TARGETS_BY_NAME[target](content)
        except BaseException:
            seeds = HERE / "seeds" / target
            seeds.mkdir(parents=True, exist_ok=True)
            (seeds / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)
            raise

    options = [f"-max_total_time={seconds}", "-max_len=20000", "-timeout=20", "-rss_limit_mb=1024", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={corpus.parent}/", str(corpus)], try_one)
    atheris.Fuzz()


main()
