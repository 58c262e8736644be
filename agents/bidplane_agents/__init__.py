"""What an agent author installs: the async client, the reference bidders and the command line.

Speaks Kafka through the contract (bidplane_topics); knows nothing of the market's insides, of Faust
or of Kubernetes.
"""
