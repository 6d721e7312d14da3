"""The rules that a history is judged by, one subject a file; `chaos.checker` puts them together.

    messages   each topic's queue: what was said about each message     (`fifo`: does one order fit all?)
    topics     the list of topics: created once, seen by all from then on
    leaders    at most one leader a term
    states     equal positions, equal states
    logs       equal positions, equal entries

Rules of this package: pure. No clock, no randomness, no network, no file; nothing of the node's own code. Each subject
takes records as they come (`add`) and judges at the end (`judge`); what is wrong goes to one `Findings`.
"""
