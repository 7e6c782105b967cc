"""Action counts times cost tables; never cycles."""
