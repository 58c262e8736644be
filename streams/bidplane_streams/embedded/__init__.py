"""Real servers as child processes of one machine: Kafka, control planes, simulated nodes.

Decides how they are built, started, watched and stopped. Refuses to know what bidplane does with
them: everything here would serve any program that needs a Kafka and a Kubernetes on a laptop.
"""
