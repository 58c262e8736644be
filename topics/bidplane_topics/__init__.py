"""The contract: every record that bidplane puts on Kafka, as typed values.

Decides names, shapes, ids, money and signatures. Refuses to know about I/O, clocks, Kafka clients
or Kubernetes: whoever imports this package can read and write any record, and nothing else.
"""
