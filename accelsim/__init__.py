"""accelsim: what a compressed network really costs, in cycles, joules and mm2, on a given accelerator."""

__version__ = "0.1.0"
