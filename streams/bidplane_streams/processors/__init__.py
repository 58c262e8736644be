"""Faust streams and web views: low-rate or loss-tolerant work beside the lanes."""
