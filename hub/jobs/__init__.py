"""Work that is done later, by a worker: deferred in the transaction of the act that makes it needed."""
