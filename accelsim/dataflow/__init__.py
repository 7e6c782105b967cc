"""OS, WS, IS and RS as pure functions from a shape and an array to folds and cycles."""
