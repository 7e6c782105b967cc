"""The shipped cost tables: one CSV for each kind of component, with a source on every row."""
