"""Command line: `python -m prunelab list | run STUDY | figures`."""

from prunelab.cli import main

if __name__ == "__main__":
    main()
