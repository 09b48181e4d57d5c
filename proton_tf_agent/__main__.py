"""`python -m proton_tf_agent`: the command line."""

import sys

from .cli import main

sys.exit(main())
