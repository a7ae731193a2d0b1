"""`python -m anyvox_keras.cli`."""

import sys

from anyvox_keras.cli.main import main

sys.exit(main())
