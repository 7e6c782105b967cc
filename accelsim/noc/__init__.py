"""Networks on chip: links, routers, topologies."""
