"""Runs the benchmarks: `python -m benchmarks --help`."""

from benchmarks.process import restart_with_settings

if __name__ == "__main__":
    restart_with_settings("benchmarks")
    from benchmarks.command import main  # imports what reads the settings

    main()
