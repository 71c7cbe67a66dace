"""Run palirs from a checkout: ``python run.py [group=option] [key=value] ...``, or ``--help``."""

from palirs.cli.main import main

if __name__ == "__main__":
    main()
