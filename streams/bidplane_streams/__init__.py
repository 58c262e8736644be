"""bidplane's servers: the core, lanes, processors, sinks, sources, and how they are started."""
