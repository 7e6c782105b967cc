"""Parts of the two Eyeriss engines: mappings and their search, coded traffic, compressed columns, the cluster mesh."""
