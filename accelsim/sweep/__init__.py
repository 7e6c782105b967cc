"""Many runs: grids, execution, storage."""
