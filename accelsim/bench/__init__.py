"""The regression benchmark, the speed suite, and comparisons: named cases run side by side."""
