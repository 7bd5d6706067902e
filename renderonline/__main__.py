"""`python -m renderonline`: the same program as the `renderonline` command."""

import sys

from renderonline.cli import main

if __name__ == "__main__":
    sys.exit(main())
