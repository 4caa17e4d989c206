"""One page that replays the recorded studies of recovery: `python -m prunelab.explorer`.

All numbers and sentences are made here, by the functions that notebook 13 calls; the page's
JavaScript only chooses and draws. It is one file, which needs no network and no server.
"""
