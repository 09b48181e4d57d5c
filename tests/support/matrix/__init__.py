"""The live matrix: ways a run can go, each with its truth; see `case` for what a case is and `play` for the world."""
