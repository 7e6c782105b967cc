"""Clock, processes and channels: the only room that imports simpy."""
