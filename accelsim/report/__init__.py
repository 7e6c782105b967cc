"""Results as tables, files, figures and timelines: the only room that imports matplotlib."""
