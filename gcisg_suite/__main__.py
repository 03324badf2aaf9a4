"""`python -m gcisg_suite`."""

from gcisg_suite.cli import main

if __name__ == "__main__":
    main()
