"""The parts of tools/bench/run. Python 3.11, standard library only."""
