"""What PyInstaller freezes, and `python renderonline.py` from a checkout."""

import sys

from renderonline.cli import main

if __name__ == "__main__":
    sys.exit(main())
