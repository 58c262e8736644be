"""The command line, a file for each kind of user: bidders, operators, auditors, contract readers.

Commands read what was typed, call the library, and print: results to stdout, progress to stderr.
"""
