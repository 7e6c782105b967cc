"""Ground floor: errors, specs, YAML, registries, kernels, action counts. Knows nothing above it."""
