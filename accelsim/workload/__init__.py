"""Networks, layers and shapes; importers; and the trace, the file in which front end and simulator meet."""
