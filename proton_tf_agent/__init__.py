"""proton-tf-agent: sees Terraform and OpenTofu runs from outside and tells what became of them.

Start with `docs/architecture.md`; the vocabulary is in `docs/glossary.md`.
"""

__version__ = "0.1.0"
